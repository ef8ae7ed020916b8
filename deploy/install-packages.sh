#!/usr/bin/env bash
# Installs the Debian 12 packages of the named sections of packages.txt, as far as they are missing.
#
#   deploy/install-packages.sh [SECTION...]     sections: build test bench; none given: build
#   deploy/install-packages.sh --missing [SECTION...]   prints what is missing and installs nothing
#
# Needs nothing but what the smallest Debian has. Runs as root or through sudo. When all is installed it
# touches neither the network nor the package database.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list=$here/packages.txt
tries=5

die() {
  printf 'install-packages: %s\n' "$*" >&2
  exit 1
}

# Prints the packages of the section $1.
section() {
  local in='' line found=''
  while IFS= read -r line; do
    line=${line%%#*}
    line=${line//[[:space:]]/}
    case $line in
      '') ;;
      "[$1]") in=yes found=yes ;;
      '['*) in='' ;;
      *) [ -z "$in" ] || printf '%s\n' "$line" ;;
    esac
  done <"$list"
  [ -n "$found" ] || die "no section [$1] in $list"
}

is_installed() {
  local state
  state=$(dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null) || return 1
  case $'\n'$state$'\n' in *$'\n'installed$'\n'*) return 0 ;; *) return 1 ;; esac
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo -n true 2>/dev/null || [ -t 0 ] || die "needs root: run it as root, or allow sudo without a password"
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

# Another apt may hold a lock, a mirror may fail once: tries again, ever more slowly.
with_retries() {
  local try
  for ((try = 1; ; try++)); do
    if as_root "$@"; then return 0; fi
    [ "$try" -lt "$tries" ] || return 1
    printf 'install-packages: try %d of %d failed, next in %d s: %s\n' "$try" "$tries" $((try * 5)) "$*" >&2
    sleep $((try * 5))
  done
}

# Tools come out of packages that also start a daemon (promtool from prometheus): the tool is wanted, not the
# daemon. Debian asks this file before it starts a service; it goes when the installation ends.
policy=/usr/sbin/policy-rc.d
remove_policy() { as_root rm -f "$policy"; }
forbid_daemons() {
  [ ! -e "$policy" ] || return 0
  as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
  trap remove_policy EXIT
}

only_print=''
sections=()
for argument in "$@"; do
  case $argument in
    --missing) only_print=yes ;;
    -*) die "unknown option $argument; legal: --missing" ;;
    *) sections+=("$argument") ;;
  esac
done
[ ${#sections[@]} -gt 0 ] || sections=(build)

command -v apt-get >/dev/null || die "this system has no apt; install the equal of these packages by hand: $list"

missing=()
for name in "${sections[@]}"; do
  wanted=$(section "$name")
  for package in $wanted; do
    is_installed "$package" || missing+=("$package")
  done
done

if [ -n "$only_print" ]; then
  [ ${#missing[@]} -eq 0 ] || printf '%s\n' "${missing[@]}" | sort -u
  exit 0
fi
[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "needs root or sudo to install: ${missing[*]}"

printf 'Installing %d packages: %s\n' ${#missing[@]} "${missing[*]}"
apt=(apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
forbid_daemons
with_retries "${apt[@]}" update ||
  printf 'install-packages: apt-get update failed; trying with the package lists at hand\n' >&2
with_retries "${apt[@]}" install --no-install-recommends "${missing[@]}" ||
  die "apt-get could not install: ${missing[*]}"
