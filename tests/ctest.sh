# Sourced by tests/run.sh and .ci/run: runs ctest and keeps the two counts of the closing line.
# shellcheck shell=bash

passed=0
failed=0

# count STATUS: one check that is no test of ctest.
count() {
  if [ "$1" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# attribute FILE NAME: a number in the head of a file that ctest wrote with --output-junit.
attribute() {
  sed -n "s/^[[:space:]]*$2=\"\\([0-9]*\\)\".*/\\1/p" "$1" | head -n 1
}

# run_ctest BUILD_DIR [CTEST ARGUMENTS...]: adds to the counts; a run of no test is one failure.
run_ctest() {
  local result=$1/ctest.xml total bad skipped
  rm -f "$result"
  ctest --test-dir "$1" --output-on-failure --no-tests=error -j "$(nproc)" --output-junit "$result" "${@:2}" || true
  total=$([ ! -e "$result" ] || attribute "$result" tests)
  if [ "${total:-0}" -eq 0 ]; then
    printf 'ctest ran no test in %s\n' "$1" >&2
    count 1
    return 0
  fi
  bad=$(attribute "$result" failures)
  skipped=$(attribute "$result" skipped)
  passed=$((passed + total - bad - ${skipped:-0}))
  failed=$((failed + bad))
}

# run_fuzz SECONDS BUILD_DIR: each fuzz target is one check; so is a run that did not get that far.
run_fuzz() {
  local line status=0 targets=0 lines=$2/lines.txt
  mkdir -p "$2"
  "$h2bd_root/tests/fuzz/run.sh" "$1" "$2" | tee "$lines" || status=$?
  while IFS= read -r line; do
    case $line in
      fuzz_*' executions in '*', ok') count 0 ;;
      fuzz_*' executions in '*) count 1 && status=0 ;;
      *) continue ;;
    esac
    targets=$((targets + 1))
  done <"$lines"
  if [ "$status" -ne 0 ] || [ "$targets" -eq 0 ]; then count 1; fi
}

# Prints the closing line; succeeds when something passed and nothing failed.
closing_line() {
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
