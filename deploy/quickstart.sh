#!/usr/bin/env bash
# From an empty Debian 12 to a served volume: installs packages, builds, formats a volume if there is none, starts
# the server, shows it at work through the client, and keeps serving until Ctrl-C.
#
#   deploy/quickstart.sh [--once] [--no-install]
#
#   --once        stop after the demonstration; exit 0 when all of it was right
#   --no-install  the packages are there (deploy/packages.txt, section build)
#
# Settings, all by environment:
#   VOLUME        one raw disk (/dev/sdX) or image file; default: h2bd.img in DATA_DIR
#   DATA_DIR      default: /var/lib/h2bd for root, ~/.local/share/h2bd for others
#   SIZE          of an image file that is made here; default 10G (sparse)
#   LISTEN        address of the service, HOST:PORT or unix:PATH; default 127.0.0.1:7420
#   METRICS       address of the metrics page; default 127.0.0.1:9742
#   BUILD_DIR     default: build/ in the source tree
#   BIN_DIR       take h2bd and h2bd-server from here and build nothing
#   FORCE_FORMAT  "yes" formats a VOLUME that holds something else than HAMMER2. THAT DATA IS THEN LOST.
#
# A VOLUME that is a HAMMER2 volume is served as it is, never formatted. The demonstration makes the disks
# quickstart-a and quickstart-b in it, or writes to them again.
set -euo pipefail
# shellcheck source=deploy/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=deploy/volume.sh
source "$h2bd_root/deploy/volume.sh"

once=''
install=yes
for argument in "$@"; do
  case $argument in
    --once) once=yes ;;
    --no-install) install='' ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
    *) die "unknown argument $argument; legal: --once --no-install" ;;
  esac
done

listen=${LISTEN:-127.0.0.1:7420}
metrics=${METRICS:-127.0.0.1:9742}
build_dir=${BUILD_DIR:-$h2bd_root/build}
if [ "$(id -u)" = 0 ]; then data_dir=${DATA_DIR:-/var/lib/h2bd}; else
  data_dir=${DATA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/h2bd}
fi
volume=${VOLUME:-$data_dir/h2bd.img}
size=${SIZE:-10G}

work=$(mktemp -d)
bin=''
server_pid=''
# Asks the server to stop, waits for its final cycle, and gives its exit status.
stop_server() {
  [ -n "$server_pid" ] || return 0
  local pid=$server_pid status=0
  server_pid=''
  kill -TERM "$pid" 2>/dev/null || true
  # A second Ctrl-C ends a wait early, not the final cycle.
  while kill -0 "$pid" 2>/dev/null; do wait "$pid" || true; done
  wait "$pid" || status=$?
  return "$status"
}
# Runs at every exit.
# shellcheck disable=SC2317
cleanup() {
  stop_server || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

client() { "$bin/h2bd" --server "$listen" "$@"; }

build_programs() {
  if [ -n "${BIN_DIR:-}" ]; then
    bin=$BIN_DIR
    return 0
  fi
  if [ -n "$install" ]; then "$h2bd_root/deploy/install-packages.sh" build; fi
  say "Building in $build_dir (the first time this takes some minutes)"
  local fresh=()
  # A new build directory needs no test packages; one that is there keeps its settings.
  [ -e "$build_dir/CMakeCache.txt" ] || fresh=(-DH2BD_TESTS=OFF)
  configure "$build_dir" "${fresh[@]}" >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2 && die "cmake failed"; }
  build "$build_dir" h2bd-server h2bd || die "the build failed"
  bin=$build_dir/bin
}

# refuse_taken_port ADDRESS SETTING
refuse_taken_port() {
  case $1 in unix:*) return 0 ;; esac
  local host=${1%:*} port=${1##*:}
  [[ $1 == *:* && $port =~ ^[0-9]+$ ]] || die "$2=$1 is not HOST:PORT"
  case $host in 0.0.0.0 | '' | '[::]') host=127.0.0.1 ;; esac
  host=${host#[} host=${host%]}
  if (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null; then
    die "something listens on $1 already (an h2bd that still runs?); stop it, or choose another address:
  LISTEN=127.0.0.1:7421 METRICS=127.0.0.1:9743 deploy/quickstart.sh"
  fi
}

start_server() {
  server_log=$work/server.log
  # In its own session, so that Ctrl-C reaches this script alone and the server is stopped once, in order.
  setsid "$bin/h2bd-server" --volume "$volume" --listen "$listen" --metrics "$metrics" \
    >"$server_log" 2>&1 </dev/null &
  server_pid=$!
  local try
  for ((try = 0; try < 300; try++)); do
    if ! kill -0 "$server_pid" 2>/dev/null; then
      server_pid=''
      cat "$server_log" >&2
      die "the server did not start; its messages stand above"
    fi
    if client volume status >/dev/null 2>&1; then return 0; fi
    sleep 0.2
  done
  cat "$server_log" >&2
  die "the server did not answer within a minute; its messages stand above"
}

ensure_disk() {
  client disk info "$1" >/dev/null 2>&1 || client disk create "$1" --size 1G
}

demonstrate() {
  local offset=$((3 * 65536 + 512))
  say "Two disks"
  ensure_disk quickstart-a
  ensure_disk quickstart-b
  client disk ls

  say "One transaction over both: all of it is there after a crash, or nothing"
  head -c 3000000 /dev/urandom >"$work/a"
  head -c 1500000 /dev/urandom >"$work/b"
  client txn "quickstart-a:$offset:$work/a" "quickstart-b:0:$work/b"

  say "Sync: from here on it survives a power loss"
  client sync

  say "Read back and compare"
  client read quickstart-a --offset "$offset" --length 3000000 >"$work/a.back"
  client read quickstart-b --offset 0 --length 1500000 >"$work/b.back"
  cmp "$work/a" "$work/a.back" && cmp "$work/b" "$work/b.back" || return 1
  sha256sum "$work/a.back" "$work/b.back" | sed "s|$work/|read back: |"

  say "Where the flush spent its time (http://$metrics/metrics)"
  curl -fsS --max-time 10 "http://$metrics/metrics" >"$work/metrics"
  flush_latency "$work/metrics"
}

# Prints count and mean of the flush histograms in a metrics page; fails when no cycle was counted.
flush_latency() {
  awk '
    /^h2bd_flush_(cycle|phase)_duration_seconds_(sum|count)/ {
      name = match($0, /phase="[a-z0-9_]+"/) ? substr($0, RSTART + 7, RLENGTH - 8) : "whole cycle"
      if (!(name in seen)) { seen[name] = 1; order[++names] = name }
      if ($0 ~ /_seconds_sum/) sum[name] += $NF; else count[name] += $NF
    }
    END {
      printf "%-14s %8s %12s\n", "phase", "count", "mean"
      for (i = 1; i <= names; i++) {
        n = order[i]
        if (count[n] > 0) printf "%-14s %8d %9.3f ms\n", n, count[n], 1000 * sum[n] / count[n]
      }
      exit !(count["whole cycle"] > 0)
    }' "$1"
}

build_programs
refuse_taken_port "$listen" LISTEN
refuse_taken_port "$metrics" METRICS
prepare_volume "$bin/h2bd" "$volume" "$size"
say "Serving $volume on $listen, metrics on http://$metrics/metrics"
start_server
demonstrate || die "FAILED: the demonstration went wrong"

if [ -n "$once" ]; then
  stop_server || die "FAILED: the server ended with status $?"
  say "quickstart: PASSED"
  exit 0
fi

cat <<END

The server runs on $listen until you press Ctrl-C. In another terminal:

  $bin/h2bd --server $listen volume status
  $bin/h2bd --server $listen disk create vm1 --size 20G
  $bin/h2bd --server $listen import FILE vm1
  $bin/h2bd --server $listen sync
  $bin/h2bd --server $listen export vm1 COPY
  curl http://$metrics/metrics

README.md has a tour of ten minutes. The next start serves the same volume:

  $bin/h2bd-server --volume $volume
END

interrupted=''
trap 'interrupted=yes' INT TERM
status=0
wait "$server_pid" || status=$?
if [ -n "$interrupted" ]; then
  say "Stopping: draining and a final cycle"
  stop_server || die "the server ended with status $?; its messages: $(tail -n 20 "$server_log")"
  say "Stopped; everything acknowledged is durable"
  exit 0
fi
server_pid=''
tail -n 20 "$server_log" >&2
die "the server ended by itself with status $status; its messages stand above"
