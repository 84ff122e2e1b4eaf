#!/usr/bin/env bash
# Builds the plugins that the runner carries (`bundled:echo` and so on) from their crates in `plugins/`, and writes their
# digests. Each compiler makes other bytes, so the first line of `DIGESTS` has the version of the compiler.
#
# With `--check` it changes nothing, and fails if the files differ from those that this compiler makes of the source.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly TARGET=wasm32-wasip2
readonly PACKAGES=(agent-provider cases chat-provider echo http-provider units)

out=plugins/bundled
if [[ "${1-}" == --check ]]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi

# A stack of 128 KiB instead of 1 MiB: the runner creates a new memory for each trial, and a small one is faster.
flags=(-C link-arg=-zstack-size=131072)
# The files must not contain paths of this machine. `cargo fetch` creates the registry's folders, which the loop needs.
cargo fetch --quiet --locked --target "$TARGET"
for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
  flags+=("--remap-path-prefix=${folder%/}=/registry")
done
flags+=("--remap-path-prefix=$PWD=/runner")

# Flags for the host must not change the plugins.
unset RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; printf '%s' "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS
cargo build --locked --profile plugin --target "$TARGET" --target-dir target/guests "${PACKAGES[@]/#/--package=}"

for package in "${PACKAGES[@]}"; do
  cp "target/guests/$TARGET/plugin/${package//-/_}.wasm" "$out/${package%-provider}.wasm"
done

if grep -aoF -e "$PWD/" -e "${CARGO_HOME:-$HOME/.cargo}/" "$out"/*.wasm; then
  echo "a plugin contains a path of this machine: add it to the flags above" >&2
  exit 1
fi

{
  rustc -V
  (cd "$out" && sha256sum -- *.wasm)
} >"$out/DIGESTS"

if [[ "${1-}" == --check ]]; then
  diff plugins/bundled/DIGESTS "$out/DIGESTS" ||
    { echo "plugins/bundled differs from its source: run plugins/bundled/build.sh" >&2; exit 1; }
fi
