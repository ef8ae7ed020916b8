#!/usr/bin/env bash
# The layers of the product, as the build enforces them.
#
#   layering_test.sh SOURCE_DIR LAYERS_DIR COMPILER
#
# LAYERS_DIR/TARGET is the one include directory that TARGET has for files of this project.
set -euo pipefail
source_dir=$1 layers_dir=$2 compiler=$3

# Each folder may include only folders before it.
readonly order=(base digest media device dio volhdr trans chain freemap inode pfs strategy flush volume fsck)

problems=0
checks=0
complain() {
  printf 'layering: %s\n' "$*" >&2
  problems=$((problems + 1))
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# compiles TARGET HEADER: whether a file of TARGET that includes HEADER compiles.
compiles() {
  checks=$((checks + 1))
  printf '#include "%s"\n' "$2" >"$work/probe.cc"
  "$compiler" -std=c++20 -fsyntax-only -I "$layers_dir/$1" "$work/probe.cc" >"$work/messages" 2>&1
}

# A header that lies directly in the folder $1, as an #include names it.
header_of() {
  local header
  for header in "$source_dir/$1"/*.h; do
    [ -e "$header" ] || break
    printf '%s\n' "${header#"$source_dir/"}"
    return 0
  done
  complain "no header in $1"
}

check_core_folder() {
  local index=$1 target=core_${order[$1]} own other header
  [ -d "$layers_dir/$target" ] || { complain "$target has no include tree in $layers_dir" && return; }
  own=$(header_of "core/${order[index]}")
  compiles "$target" "$own" || complain "$target cannot include its own $own: $(cat "$work/messages")"
  for ((other = index + 1; other < ${#order[@]}; other++)); do
    header=$(header_of "core/${order[other]}")
    # The include itself must fail: a header that is found and then misses what it needs is within reach, too.
    if compiles "$target" "$header" || ! grep -q '/probe.cc:1:[0-9]*: fatal error' "$work/messages"; then
      complain "core/${order[index]} finds $header, which is a layer above it"
    fi
  done
}

# refuse_includes PATTERN WHY FOLDER...: what include directories cannot refuse, because it lies in the system's.
refuse_includes() {
  local pattern="^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$1" why=$2 found
  shift 2
  checks=$((checks + 1))
  found=$(grep -rnE --include='*.h' --include='*.cc' "$pattern" "${@/#/$source_dir/}" || true)
  [ -z "$found" ] || complain "$why:"$'\n'"$found"
}

for ((i = 0; i < ${#order[@]}; i++)); do check_core_folder "$i"; done

for folder in "$source_dir"/core/*/; do
  name=$(basename "$folder")
  [[ " ${order[*]} " == *" $name "* ]] || complain "core/$name has no place in the order of the layers"
done

folders=()
for folder in core server client tests; do
  if [ -d "$source_dir/$folder" ]; then folders+=("$folder"); fi
done
refuse_includes '(grpc|grpcpp|google|prometheus|h2bd)/' 'core/ knows neither RPC nor Prometheus' core
refuse_includes '(server|client|tests)/' 'core/ knows nobody above it' core
refuse_includes '\.\./' 'a path with .. goes around the include trees' "${folders[@]}"
for folder in server client/api client/cli; do
  if [ -d "$source_dir/$folder" ]; then
    refuse_includes 'core/(media|dio|volhdr|chain)/' "$folder/ does not know the media" "$folder"
  fi
done

printf 'layering: %d checks, %d problems\n' "$checks" "$problems"
[ "$problems" -eq 0 ]
