#!/usr/bin/env bash
# The tour in the top README, as it stands there: every command must succeed.
#
#   readme_tour_test.sh README BIN_DIR
#
# Only the directory and the two addresses are replaced, so that it can run beside a server.
set -euo pipefail
readme=$1 bin_dir=$2

work=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null || true; rm -rf "$work"' EXIT

port=$(shuf -i 24000-24998 -n 1)
export H2BD_SERVER=127.0.0.1:$port H2BD_LISTEN=127.0.0.1:$port H2BD_METRICS=127.0.0.1:$((port + 1))
tour=$work/tour.sh
# shellcheck disable=SC2016
sed -n '/^## A tour/,/^## /{/^```sh/,/^```/{/^```/d;p}}' "$readme" |
  sed -e "s|^export PATH=.*|export PATH=\"$bin_dir:\$PATH\"|" -e "s|/tmp/h2bd-tour|$work/tour|g" \
    -e "s|127.0.0.1:7420|$H2BD_LISTEN|g" -e "s|127.0.0.1:9742|$H2BD_METRICS|g" >"$tour"
[ "$(wc -l <"$tour")" -gt 30 ] || { printf 'FAILED: no tour found in %s\n' "$readme" && exit 1; }

set -m # a job of its own, so that its servers end with it
bash -eux "$tour" >"$work/output" 2>&1 </dev/null || {
  status=$?
  cat "$work/output"
  printf 'FAILED: the tour ended with %d\n' "$status"
  exit 1
}
[ "$(grep -c '^same$' "$work/output")" = 2 ] || { cat "$work/output" && printf 'FAILED: bytes differ\n' && exit 1; }
[ "$(grep -c '^hello, block device$' "$work/output")" = 2 ] ||
  { cat "$work/output" && printf 'FAILED: what was synced is not there\n' && exit 1; }
printf 'tour: all commands work\n'
