#!/usr/bin/env bash
# Fails when a source file differs from what clang-format makes of it. `--fix` rewrites the files instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
  '') mode=(--dry-run -Werror) ;;
  --fix) mode=(-i) ;;
  *) printf 'usage: tests/check_format.sh [--fix]\n' >&2 && exit 2 ;;
esac

mapfile -d '' files < <(find core server client proto tests \( -name '*.h' -o -name '*.cc' \) -print0 | sort -z)
[ ${#files[@]} -gt 0 ] || { printf 'check_format: no source files found\n' >&2 && exit 2; }
printf '%s\0' "${files[@]}" | xargs -0 -P "$(nproc)" -n 32 clang-format --style=file "${mode[@]}"
printf 'check_format: %d files are formatted\n' ${#files[@]}
