#!/usr/bin/env bash
# Builds the plugins that the runner carries (`bundled:echo` and so on) from their crates in `plugins/`, and writes their
# digests. Another compiler makes other bytes, so the first line of `DIGESTS` says which one made these.
#
# With `--check` it changes nothing, and fails if the files are not what this compiler makes of the source.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly TARGET=wasm32-wasip2
readonly PACKAGES=(chat-provider echo http-provider units)

out=plugins/bundled
if [[ "${1-}" == --check ]]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi

# A plugin gets a stack of 128 KiB instead of 1 MiB: the runner gives each trial a new memory, and a small one is faster.
flags=(-C link-arg=-zstack-size=131072)
# No path of this machine may stand in the files. The folders of the registry have to exist to be named.
cargo fetch --quiet --locked --target "$TARGET"
for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
  flags+=("--remap-path-prefix=${folder%/}=/registry")
done
flags+=("--remap-path-prefix=$PWD=/runner")

# Flags of the host's build are none of a plugin's.
unset RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; printf '%s' "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS
cargo build --locked --profile plugin --target "$TARGET" --target-dir target/guests "${PACKAGES[@]/#/--package=}"

for package in "${PACKAGES[@]}"; do
  cp "target/guests/$TARGET/plugin/${package//-/_}.wasm" "$out/${package%-provider}.wasm"
done

if grep -aoF -e "$PWD/" -e "${CARGO_HOME:-$HOME/.cargo}/" "$out"/*.wasm; then
  echo "a plugin has a path of this machine inside: a flag above does not cover it" >&2
  exit 1
fi

{
  rustc -V
  (cd "$out" && sha256sum -- *.wasm)
} >"$out/DIGESTS"

if [[ "${1-}" == --check ]]; then
  diff plugins/bundled/DIGESTS "$out/DIGESTS" ||
    { echo "plugins/bundled is not what the source gives: run plugins/bundled/build.sh" >&2; exit 1; }
fi
