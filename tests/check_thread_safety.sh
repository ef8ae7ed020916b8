#!/usr/bin/env bash
# Compiles core/ with clang for its warnings only, -Wthread-safety among them: a lock annotation that nobody checks
# is only a comment. BUILD_DIR (default build/) must have been configured.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=$(realpath -m "${BUILD_DIR:-$root/build}")

analyse() {
  local source=$1 folder tree
  folder=$(basename "$(dirname "$source")")
  tree=$2/layers/core_$folder
  clang++ -std=c++20 -fsyntax-only -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers \
    -Wthread-safety -I"$tree" "$source"
}
export -f analyse

find "$root/core" -name '*.cc' -print0 | sort -z |
  xargs -0 -P "$(nproc)" -I{} bash -c 'analyse "$1" "$2"' _ {} "$build_dir"
