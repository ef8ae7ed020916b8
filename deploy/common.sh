# Sourced by the project's scripts: where the source tree is, and how a build directory is configured and built.
# shellcheck shell=bash

h2bd_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '== %s\n' "$*"; }
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Prints the number of compilers that run at once: the cores, but no more than memory allows at 1.5 GiB each.
build_jobs() {
  local cores kib jobs
  cores=$(nproc)
  kib=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
  jobs=$((${kib:-0} / 1572864))
  [ "$jobs" -ge 1 ] || jobs=1
  [ "$jobs" -le "$cores" ] || jobs=$cores
  printf '%s\n' "$jobs"
}

# One compiler cache for all build directories of the tree; it must work where HOME cannot be written.
use_ccache() {
  command -v ccache >/dev/null || return 1
  if [ -z "${CCACHE_DIR:-}" ]; then
    local home_cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/ccache
    mkdir -p "$home_cache" 2>/dev/null && [ -w "$home_cache" ] || home_cache=$h2bd_root/build-ccache
    export CCACHE_DIR=$home_cache
  fi
  # Clones of the tree in different places share results.
  export CCACHE_BASEDIR=$h2bd_root CCACHE_NOHASHDIR=1
}

# configure DIR [CMAKE ARGUMENTS...]: Ninja for a new directory, what is there already otherwise.
configure() {
  local dir=$1 arguments=()
  shift
  if [ ! -e "$dir/CMakeCache.txt" ] && command -v ninja >/dev/null; then arguments+=(-G Ninja); fi
  if use_ccache; then arguments+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  cmake -S "$h2bd_root" -B "$dir" "${arguments[@]}" "$@"
}

# build DIR [TARGETS...]
build() {
  local dir=$1
  shift
  use_ccache || true
  if [ $# -gt 0 ]; then set -- --target "$@"; fi
  cmake --build "$dir" -j "$(build_jobs)" "$@"
}
