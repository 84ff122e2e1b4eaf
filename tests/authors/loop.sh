#!/usr/bin/env bash
# The loop of an author, in seconds: from a new plugin, and from one changed character, to a green result.
#
#   tests/authors/loop.sh [LANGUAGE…]
#
# Needs the tools that `.ci/run` installs into `target/tools`. Run it on an idle machine. `RUNNER` names another program than
# `target/release/runner`.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly RUNNER=$(realpath "${RUNNER:-target/release/runner}") TOOLS=$PWD/target/tools
folder=$(mktemp -d)
readonly folder
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin"
ln -s "$RUNNER" "$folder/bin/runner"
export PATH=$folder/bin:$TOOLS/python/bin:$PATH RUNNER_CACHE=$folder/cache

# create LANGUAGE NAME: a new plugin with the tools of its language.
create() {
  cd "$folder"
  runner plugin new "$2" --lang "$1" >/dev/null 2>&1
  cd "$2"
  case $1 in
    python | c | go) ln -s "$TOOLS/python" .venv ;;
    javascript) ln -s "$TOOLS/javascript/node_modules" . ;;
  esac
}

# edit LANGUAGE NUMBER: changes one character of the source.
edit() {
  local file
  case $1 in
    python) file=provider.py ;;
    javascript) file=shout.js ;;
    rust) file=src/lib.rs ;;
    c) file=src/provider.c ;;
    go) file=main.go ;;
  esac
  sed -i "s/shouting[0-9]*;/shouting$2;/" "$file"
  grep -q "shouting$2;" "$file"
}

# seconds COMMAND…: prints how long a command takes, and its output if it fails.
seconds() {
  local start=$EPOCHREALTIME
  "$@" >"$folder/output" 2>&1 || { cat "$folder/output" >&2; exit 1; }
  awk -v from="$start" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'
}

exec_build() { runner exec --build scenario.toml; }
exec_final() { runner plugin build && runner exec scenario.toml; }

echo "| language | new plugin, empty cache | edit | next edit | new plugin, filled cache | final form | edit of it |"
echo "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
[[ $# -gt 0 ]] || set -- rust python javascript c go
for language; do
  rm -rf "$RUNNER_CACHE"
  create "$language" "first-$language"
  first=$(seconds exec_build)
  edit "$language" 1
  edited=$(seconds exec_build)
  edit "$language" 2
  next=$(seconds exec_build)
  final="" final_edit=""
  if grep -q '^\[dev\]' plugin.toml; then
    final=$(seconds exec_final)
    edit "$language" 3
    final_edit=$(seconds exec_final)
  fi
  create "$language" "second-$language"
  second=$(seconds exec_build)
  echo "| $language | $first | $edited | $next | $second | $final | $final_edit |"
done
