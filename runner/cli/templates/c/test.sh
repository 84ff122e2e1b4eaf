#!/bin/sh
# Compiles the provider for this machine, calls it like the runner, and compares its replies.
set -eu
cd "$(dirname "$0")"
mkdir -p dist
# Like the build, which takes zig from this folder before `PATH`. `CC` selects another compiler.
PATH=".venv/bin:$PATH"
compiler="${CC:-$(command -v python-zig || echo zig) cc}"
$compiler -std=c17 -Wall -Wextra -g -fsanitize=undefined -o dist/native src/*.c

expect() {
  answer=$(printf '%s' "$1" | ./dist/native run 2>/dev/null)
  if [ "$answer" != "$2" ]; then
    printf 'asked:    %s\nexpected: %s\nanswered: %s\n' "$1" "$2" "$answer" >&2
    exit 1
  fi
}

expect '{"input": {"text": "to be"}, "config": {"suffix": "!"}}' \
  '{"ok": {"output": {"shout": "TO BE!", "words": 2}, "metrics": [{"name": "words", "value": 2}]}}'
expect '{"tags": ["a\"]"], "config": {}, "input": {"text": "\u00e9 \ud83d\ude00 \"x\"\n"}}' \
  '{"ok": {"output": {"shout": "é 😀 \"X\"\u000a", "words": 3}, "metrics": [{"name": "words", "value": 3}]}}'
expect '{"input": {"text": " "}, "config": {}}' \
  '{"err": {"kind": "invalid-input", "code": "no-words", "message": "`text` has no words"}}'
expect '{"input": {"txt": "to be"}, "config": {}}' \
  '{"err": {"kind": "invalid-input", "code": "", "message": "`text` is missing or not a string"}}'
echo 'all answers are as expected'
