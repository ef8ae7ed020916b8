#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs each of them for a while, two at a time.
#
#   tests/fuzz/run.sh SECONDS [BUILD_DIR]
#
# BUILD_DIR (or the variable H2BD_FUZZ_BUILD) keeps the build, the corpora, the logs and what was found:
# run again, it goes on from there. Without a directory everything goes into a temporary one, which is kept when
# something was found. One line for each target; exit 1 when any of them found something or did not run.
# FUZZ_TARGETS names fewer targets than all.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../deploy/common.sh"

usage='usage: tests/fuzz/run.sh SECONDS [BUILD_DIR]'
[ $# -ge 1 ] && [ $# -le 2 ] || die "$usage"
[[ $1 =~ ^[1-9][0-9]*$ ]] || die "SECONDS is $1, legal: a positive number; $usage"
command -v clang++ >/dev/null || die "clang++ is needed for libFuzzer"

export seconds=$1
build_dir=${2:-${H2BD_FUZZ_BUILD:-}}
temporary=''
if [ -z "$build_dir" ]; then
  build_dir=$(mktemp -d)
  temporary=yes
fi
build_dir=$(realpath -m "$build_dir")
export build_dir

configure "$build_dir" -DCMAKE_CXX_COMPILER=clang++ -DH2BD_FUZZ=ON -DH2BD_SERVICE=OFF -DH2BD_BENCH=OFF
build "$build_dir" fuzzers
export H2BD_SOURCE_DIR=$h2bd_root
"$build_dir/bin/fuzz_seeds" "$build_dir/seeds"

# run_one TARGET: prints its line.
run_one() {
  local target=$1 corpus=$build_dir/corpus/$1 findings=$build_dir/findings/$1 log=$build_dir/logs/$1.log
  local verdict=ok executions
  mkdir -p "$corpus" "$findings" "$build_dir/logs"
  # The time for one input is generous: two targets share the machine with whatever else runs.
  "$build_dir/bin/$target" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 -max_len=69632 \
    -print_final_stats=1 -artifact_prefix="$findings/" "$corpus" "$build_dir/seeds/$target" >"$log" 2>&1 ||
    verdict="FAILED, see $log"
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  if [ "$verdict" = ok ] && [ "${executions:-0}" -eq 0 ]; then verdict="FAILED, nothing ran, see $log"; fi
  printf '%s: %s executions in %s s, %s\n' "$target" "${executions:-0}" "$seconds" "$verdict"
  [ "$verdict" = ok ]
}
export -f run_one

status=0
mapfile -t targets < <(tr ' ' '\n' <<<"${FUZZ_TARGETS:-$(cat "$build_dir/fuzzers.txt")}")
[ ${#targets[@]} -gt 0 ] || die "no fuzz targets"
printf '%s\0' "${targets[@]}" | xargs -0 -P 2 -I '{}' bash -c 'run_one "$1"' run_one '{}' || status=1
if [ -n "$temporary" ] && [ $status -eq 0 ]; then rm -rf "$build_dir"; fi
exit $status
