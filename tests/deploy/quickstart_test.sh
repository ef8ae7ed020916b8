#!/usr/bin/env bash
# What quickstart.sh promises about a volume: it serves one that is there, formats what is blank, and leaves everything
# else alone.
#
#   quickstart_test.sh QUICKSTART BIN_DIR
set -euo pipefail
quickstart=$1
export BIN_DIR=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
problems=0

# free_port FIRST: one of the 500 ports from FIRST on that nobody listens on now. The ranges belong to this test, so that
# tests beside it do not meet them.
free_port() {
  local port
  for port in $(shuf -i "$1-$(($1 + 499))" -n 50); do
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf '%s\n' "$port"
      return 0
    fi
  done
  return 1
}

# run NAME EXPECTED_STATUS EXPECTED_TEXT SETTING...: one run of quickstart --once.
run() {
  local name=$1 expected=$2 text=$3 status=0
  shift 3
  env LISTEN="127.0.0.1:$(free_port 23000)" METRICS="127.0.0.1:$(free_port 23500)" "$@" \
    bash "$quickstart" --once --no-install </dev/null >"$work/output" 2>&1 || status=$?
  if [ "$status" -ne "$expected" ] || ! grep -qF -- "$text" "$work/output"; then
    printf 'FAILED: %s: status %d, expected %d with "%s" in:\n' "$name" "$status" "$expected" "$text"
    cat "$work/output"
    problems=$((problems + 1))
  else
    printf 'ok: %s\n' "$name"
  fi
}

image=$work/data/h2bd.img
run "a new volume file" 0 "quickstart: PASSED" DATA_DIR="$work/data" SIZE=5G
run "the same again" 0 "Serving the volume that is there" DATA_DIR="$work/data"

truncate -s 5G "$work/blank"
run "a blank target is formatted" 0 "Formatting the blank" VOLUME="$work/blank"

truncate -s 5G "$work/foreign"
printf 'precious' | dd of="$work/foreign" bs=1 seek=1024 conv=notrunc status=none
before=$(head -c 16M "$work/foreign" | sha256sum)
run "a target with data is refused" 1 "refused, nothing was changed" VOLUME="$work/foreign"
[ "$before" = "$(head -c 16M "$work/foreign" | sha256sum)" ] || { printf 'FAILED: the refused target was changed\n' && problems=1; }
run "unless it is forced" 0 "quickstart: PASSED" VOLUME="$work/foreign" FORCE_FORMAT=yes

before=$("$BIN_DIR/h2bd" media ls "$image")
run "force does not format a HAMMER2 volume" 0 "Serving the volume that is there" VOLUME="$image" FORCE_FORMAT=yes
[ "$before" = "$("$BIN_DIR/h2bd" media ls "$image")" ] || { printf 'FAILED: force lost a disk\n' && problems=1; }

run "a directory is refused" 1 "neither a block device nor a regular file" VOLUME="$work"
run "a device that is not there" 1 "there is no device" VOLUME=/dev/h2bd-none
run "a wrong address" 1 "is not HOST:PORT" VOLUME="$image" LISTEN=7420

# A port in use: the message names it, and the volume is not touched.
port=$(free_port 23000)
python3 -c "
import socket, sys, time
s = socket.socket(); s.bind(('127.0.0.1', $port)); s.listen()
open('$work/listening', 'w').close(); time.sleep(120)" &
listener=$!
trap 'kill $listener 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 100); do [ ! -e "$work/listening" ] || break; sleep 0.1; done
run "a port in use" 1 "something listens on 127.0.0.1:$port already" VOLUME="$work/never" LISTEN="127.0.0.1:$port"
[ ! -e "$work/never" ] || { printf 'FAILED: a volume was made although the port was taken\n' && problems=1; }

printf 'quickstart: %d problems\n' "$problems"
[ "$problems" -eq 0 ]
