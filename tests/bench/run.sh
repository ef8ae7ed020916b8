#!/usr/bin/env bash
# Builds the benchmarks, runs them against their yardsticks, and prints a markdown table.
#
#   tests/bench/run.sh [--no-install] [--readme] [--rounds N] [--only WORD] [--device PATH] [--micro]
#
#   --only    the rows whose name holds WORD; "flush": those of the flusher, "space": those of snapshots,
#             clones and deletes, neither of which needs a server
#   --readme  also writes the table into README.md, between its markers
#   --device  a file or block device to measure on instead of a 4 GiB file in the build directory. ITS CONTENT IS LOST.
#   --micro   the check codes and the codec instead (Google Benchmark)
#
# The machine should do nothing else meanwhile.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../deploy/common.sh"

install=yes
micro=''
only=''
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --no-install) install='' ;;
    --micro) micro=yes ;;
    --readme) arguments+=(--readme "$h2bd_root/README.md") ;;
    --rounds | --only | --device)
      [ $# -ge 2 ] || die "$1 needs a value"
      if [ "$1" = --only ]; then only=$2; fi
      arguments+=("$1" "$2")
      shift
      ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    *) die "unknown option $1; legal: --no-install --readme --rounds N --only WORD --device PATH --micro" ;;
  esac
  shift
done

build_dir=$(realpath -m "${BUILD_DIR:-$h2bd_root/build}")
if [ -n "$install" ]; then "$h2bd_root/deploy/install-packages.sh" build test bench; fi
configure "$build_dir" -DH2BD_TESTS=ON -DH2BD_BENCH=ON
if [ -n "$micro" ]; then
  build "$build_dir" micro_bench
  exec "$build_dir/bench/micro_bench"
fi
targets=(engine_bench sync_bench stall_bench cut_bench group_bench cycle_bench scaling_bench snapshot_bench)
case $only in
  flush* | space*) ;;
  *) targets+=(h2bd h2bd-server null_server channel_load) ;;
esac
build "$build_dir" "${targets[@]}"
exec python3 -B "$h2bd_root/tests/bench/rounds.py" --build "$build_dir" --work "$build_dir/bench-work" "${arguments[@]}"
