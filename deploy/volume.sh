# Sourced by quickstart.sh: decides whether a volume is served as it is, formatted, or refused.
# shellcheck shell=bash

readonly header_spacing=$((2 << 30)) header_slots=4
# The first eight bytes of a HAMMER2 volume header, spec 01 section 3, as they lie on the media.
readonly header_magic=' 11 20 17 05 32 4d 41 48'

target_bytes() {
  if [ -b "$1" ]; then blockdev --getsize64 "$1"; else stat -L -c %s "$1"; fi
}

# Any of the header places counts: a volume whose first header is damaged is still one.
has_hammer2_header() {
  local slot bytes
  bytes=$(target_bytes "$1")
  for ((slot = 0; slot < header_slots; slot++)); do
    [ $((slot * header_spacing + 8)) -le "$bytes" ] || break
    [ "$(od -An -tx1 -N8 -j $((slot * header_spacing)) "$1")" != "$header_magic" ] || return 0
  done
  return 1
}

# Nothing but zeros where file systems, partition tables and RAID members leave their marks: the first 16 MiB and
# the last one.
is_blank() {
  local bytes
  bytes=$(target_bytes "$1")
  [ -z "$(head -c 16777216 "$1" | tr -d '\0' | head -c 1 | od -An -tx1)" ] || return 1
  [ "$bytes" -le 16777216 ] || [ -z "$(tail -c 1048576 "$1" | tr -d '\0' | head -c 1 | od -An -tx1)" ]
}

# Asks a person at a terminal; everywhere else only FORCE_FORMAT=yes will do.
may_overwrite() {
  [ "${FORCE_FORMAT:-}" != yes ] || return 0
  [ -t 0 ] && [ -t 1 ] || return 1
  local answer
  printf '%s is not empty and holds no HAMMER2 volume. Formatting it DESTROYS what it holds.\n' "$1"
  read -r -p "Type $1 to format it, anything else to stop: " answer
  [ "$answer" = "$1" ]
}

# prepare_volume PROGRAM PATH SIZE: afterwards PATH is a HAMMER2 volume, or the script has ended with a reason.
# PROGRAM is the `h2bd` command; SIZE counts for a file that does not exist yet.
prepare_volume() {
  local h2bd=$1 path=$2 size=$3
  if [ ! -e "$path" ]; then
    case $path in /dev/*) die "there is no device $path" ;; esac
    say "Formatting a new volume of $size: $path"
    mkdir -p "$(dirname "$path")"
    "$h2bd" media format "$path" --size "$size" --sparse
    return 0
  fi
  [ -b "$path" ] || [ -f "$path" ] || die "$path is neither a block device nor a regular file"
  if [ ! -r "$path" ] || [ ! -w "$path" ]; then
    die "$path cannot be read and written by $(id -un); run this as root"
  fi
  if has_hammer2_header "$path"; then
    say "Serving the volume that is there: $path"
  elif is_blank "$path"; then
    say "Formatting the blank $path"
    "$h2bd" media format "$path"
  elif may_overwrite "$path"; then
    say "Formatting $path over what it held"
    "$h2bd" media format "$path" --force
  else
    die "$path is not empty and holds no HAMMER2 volume: refused, nothing was changed.
If what it holds may be destroyed: FORCE_FORMAT=yes VOLUME=$path deploy/quickstart.sh"
  fi
}
