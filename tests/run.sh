#!/usr/bin/env bash
# Installs what is missing, builds everything and runs all tests.
#
#   tests/run.sh [--long] [--no-install] [FILTER]
#
#   --long        twenty rounds of the crash tests (H2BD_CRASH_ROUNDS), a million simulated crashes
#                 (H2BD_SIM_CRASHES), 20,000 stories of a volume's space (H2BD_SPACE_RUNS), ten
#                 minutes for each fuzz target
#   --no-install  the packages are there (deploy/packages.txt, sections build and test)
#   FILTER        only tests whose name matches this regular expression, and the fuzz targets when it matches
#                 the word fuzz
#
# BUILD_DIR names another build directory than build/, FUZZ_SECONDS another time than 60 for each fuzz target.
# The last line is "N passed, N failed" over tests and fuzz targets; exit 0 exactly when none failed.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/common.sh"
# shellcheck source=tests/ctest.sh
source "$h2bd_root/tests/ctest.sh"

install=yes
filter=''
fuzz_seconds=${FUZZ_SECONDS:-60}
for argument in "$@"; do
  case $argument in
    --long)
      export H2BD_CRASH_ROUNDS=${H2BD_CRASH_ROUNDS:-20}
      export H2BD_SIM_CRASHES=${H2BD_SIM_CRASHES:-1000000}
      export H2BD_SPACE_RUNS=${H2BD_SPACE_RUNS:-20000}
      fuzz_seconds=${FUZZ_SECONDS:-600}
      ;;
    --no-install) install='' ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    -*) die "unknown option $argument; legal: --long --no-install" ;;
    *)
      [ -z "$filter" ] || die "more than one filter: $filter, $argument"
      filter=$argument
      ;;
  esac
done
build_dir=$(realpath -m "${BUILD_DIR:-$h2bd_root/build}")

if [ -n "$install" ]; then
  say "Packages"
  "$h2bd_root/deploy/install-packages.sh" build test
fi
say "Build in $build_dir"
configure "$build_dir" -DH2BD_TESTS=ON -DH2BD_BENCH=OFF
build "$build_dir"

if [ -z "$filter" ]; then
  say "Tests"
  run_ctest "$build_dir"
  say "Fuzz targets, $fuzz_seconds s each"
  run_fuzz "$fuzz_seconds" "$build_dir-fuzz"
else
  if ctest --test-dir "$build_dir" -N -R "$filter" | grep -q '^Total Tests: [1-9]'; then
    say "Tests that match $filter"
    run_ctest "$build_dir" -R "$filter"
  fi
  if [[ fuzz =~ $filter ]]; then run_fuzz "$fuzz_seconds" "$build_dir-fuzz"; fi
fi
closing_line
