#!/usr/bin/env bash
# Checks commit.pml with SPIN: the protocol as it is must pass in every variant, and each mutation must violate the
# assertion that is named here.
#
#   check.sh WORK_DIR [FILTER]     FILTER: only variants whose name matches this regular expression
#
# WORK_DIR gets one folder for each variant, with pan's output and, after a violation, the trail:
#   cd WORK_DIR/NAME && spin -t -p -g $(cat flags) commit.pml
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# NAME, what must come out ("pass" or the number of the violated assertion, see commit.pml), flags.
variants() {
  cat <<'LIST'
two_slots                 pass -DNSLOT=2 -DNFAULT=3 -DNCRASH=1
two_slots_reopened        pass -DNSLOT=2 -DNFAULT=2 -DNCRASH=2
two_slots_few_copies      pass -DNSLOT=2 -DNFAULT=2 -DNCRASH=1 -DNCOPY=3
three_slots_no_crash      pass -DNSLOT=3 -DNFAULT=3 -DNCRASH=0
three_slots               pass -DNSLOT=3 -DNFAULT=3 -DNCRASH=1
three_slots_reopened      pass -DNSLOT=3 -DNFAULT=1 -DNCRASH=2
four_slots_aged           pass -DNSLOT=4 -DNFAULT=3 -DNCRASH=1 -DAGED
witness                    900 -DNSLOT=3 -DNFAULT=3 -DNCRASH=1 -DWITNESS
split_transaction            9 -DNSLOT=2 -DNFAULT=0 -DNCRASH=0 -DM_SPLIT_TRANSACTION
split_transaction_crash      9 -DNSLOT=2 -DNFAULT=0 -DNCRASH=1 -DM_SPLIT_TRANSACTION -DORACLE_ONLY
early_answer                11 -DNSLOT=2 -DNFAULT=0 -DNCRASH=0 -DM_EARLY_ANSWER
early_answer_crash        2000 -DNSLOT=2 -DNFAULT=0 -DNCRASH=1 -DM_EARLY_ANSWER -DORACLE_ONLY
publish_after_error         26 -DNSLOT=2 -DNFAULT=1 -DNCRASH=0 -DM_PUBLISH_AFTER_ERROR
publish_after_error_crash    9 -DNSLOT=2 -DNFAULT=1 -DNCRASH=1 -DM_PUBLISH_AFTER_ERROR -DORACLE_ONLY
drop_errored                 9 -DNSLOT=2 -DNFAULT=1 -DNCRASH=0 -DM_DROP_ERRORED
drop_errored_crash           9 -DNSLOT=2 -DNFAULT=1 -DNCRASH=1 -DM_DROP_ERRORED -DORACLE_ONLY
drop_errored_promise      2000 -DNSLOT=2 -DNFAULT=1 -DNCRASH=1 -DM_DROP_ERRORED -DPROMISE_ONLY
allocate_after_walk          6 -DNSLOT=2 -DNFAULT=0 -DNCRASH=0 -DM_ALLOCATE_AFTER_WALK
allocate_after_walk_crash    1 -DNSLOT=2 -DNFAULT=0 -DNCRASH=2 -DM_ALLOCATE_AFTER_WALK -DORACLE_ONLY
one_device_barrier          25 -DNSLOT=2 -DNFAULT=0 -DNCRASH=0 -DM_ONE_DEVICE_BARRIER
one_device_barrier_crash     1 -DNSLOT=2 -DNFAULT=0 -DNCRASH=1 -DM_ONE_DEVICE_BARRIER -DORACLE_ONLY
no_barrier_1                25 -DNSLOT=2 -DNFAULT=0 -DNCRASH=0 -DM_NO_BARRIER_1
no_barrier_1_crash           1 -DNSLOT=2 -DNFAULT=0 -DNCRASH=1 -DM_NO_BARRIER_1 -DORACLE_ONLY
no_barrier_2                 1 -DNSLOT=2 -DNFAULT=0 -DNCRASH=0 -DM_NO_BARRIER_2
no_barrier_2_crash        2000 -DNSLOT=2 -DNFAULT=0 -DNCRASH=1 -DM_NO_BARRIER_2 -DORACLE_ONLY
advance_slot                 3 -DNSLOT=2 -DNFAULT=1 -DNCRASH=0 -DM_ADVANCE_SLOT
advance_slot_crash         214 -DNSLOT=2 -DNFAULT=2 -DNCRASH=1 -DM_ADVANCE_SLOT -DORACLE_ONLY
free_on_undurable            2 -DNSLOT=2 -DNFAULT=1 -DNCRASH=0 -DM_FREE_ON_UNDURABLE
free_on_undurable_crash      1 -DNSLOT=2 -DNFAULT=1 -DNCRASH=1 -DM_FREE_ON_UNDURABLE -DORACLE_ONLY
free_one_early               2 -DNSLOT=2 -DNFAULT=0 -DNCRASH=0 -DM_FREE_ONE_HEADER_EARLY
free_one_early_crash         1 -DNSLOT=2 -DNFAULT=0 -DNCRASH=1 -DM_FREE_ONE_HEADER_EARLY -DORACLE_ONLY
unknown_copy                28 -DNSLOT=2 -DNFAULT=2 -DNCRASH=0 -DNCOPY=3 -DM_OVERWRITE_UNKNOWN_COPY
unknown_copy_crash           1 -DNSLOT=2 -DNFAULT=2 -DNCRASH=1 -DNCOPY=3 -DM_OVERWRITE_UNKNOWN_COPY -DORACLE_ONLY
reuse_tid                  216 -DNSLOT=3 -DNFAULT=2 -DNCRASH=0 -DM_REUSE_TID
reuse_tid_crash           2000 -DNSLOT=3 -DNFAULT=2 -DNCRASH=1 -DM_REUSE_TID -DORACLE_ONLY
no_fence                    28 -DNSLOT=2 -DNFAULT=0 -DNCRASH=2 -DM_NO_FENCE
no_fence_crash               1 -DNSLOT=2 -DNFAULT=0 -DNCRASH=2 -DM_NO_FENCE -DORACLE_ONLY
no_fence_promise          2000 -DNSLOT=3 -DNFAULT=2 -DNCRASH=2 -DM_NO_FENCE -DPROMISE_ONLY
lost_wakeup                101 -DNSLOT=2 -DNFAULT=0 -DNCRASH=0 -DM_LOST_WAKEUP
keep_failures              104 -DNSLOT=2 -DNFAULT=2 -DNCRASH=0 -DM_KEEP_FAILURES
LIST
}

# run_variant WORK_DIR NAME EXPECTED FLAGS...
run_variant() {
  local dir=$1/$2 name=$2 expected=$3 optimize=-O0 hash_bits=18 began got states
  shift 3
  rm -rf "$dir" && mkdir -p "$dir" && cd "$dir"
  cp "$here"/*.pml . && printf '%s\n' "$*" >flags
  # Most violations are found at once: then it is the compiler that takes the time.
  case $expected in pass | 2000) optimize=-O1 hash_bits=23 ;; esac
  began=$(date +%s%N)
  if ! spin -a "$@" commit.pml >build.txt 2>&1 ||
    ! "${CC:-cc}" "$optimize" -w -DSAFETY -DNOREDUCE -DVECTORSZ=1024 -DMEMLIM=1900 -o pan pan.c >>build.txt 2>&1; then
    cat build.txt
    printf 'FAILED %-26s does not build\n' "$name"
    return 1
  fi
  ./pan -m10000 -w$hash_bits >pan.txt 2>&1 || true
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.txt)
  got=$(sed -n 's/^pan:1: assertion violated ((\([0-9]*\)<0).*/\1/p' pan.txt)
  if [ -z "$got" ] && grep -q 'errors: 0$' pan.txt && ! grep -Eq 'not completed|too small|out of memory|aborting' pan.txt; then
    got=pass
  fi
  # What a run leaves is small, but for the checker itself.
  rm -f pan pan.?
  printf '%-6s %-26s %5s %9s states %6d ms\n' "$([ "$got" = "$expected" ] && echo ok || echo FAILED)" "$name" \
    "${got:-?}" "$states" $((($(date +%s%N) - began) / 1000000))
  if [ "$got" = "$expected" ]; then return 0; fi
  printf 'FAILED %-26s expected %s; see %s/pan.txt\n' "$name" "$expected" "$dir"
  return 1
}

if [ "${1:-}" = --one ]; then
  shift
  run_variant "$@"
  exit
fi
[ $# -ge 1 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 2; }
command -v spin >/dev/null || {
  printf 'model: no program spin; the Debian package is in the list: deploy/install-packages.sh test\n' >&2
  exit 1
}
mkdir -p "$1"
work=$(cd "$1" && pwd)
# Two at a time: the largest takes 1 GB.
variants | awk -v filter="${2:-.}" '$1 ~ filter' | xargs -P 2 -L 1 "$0" --one "$work"
