#!/usr/bin/env bash
# Runs one stage of the Makefile: says what it does, how long it took, and on failure its last lines. Not a logger:
# the whole output is kept in a file whose path is printed only when it is of use.
set -uo pipefail

name=$1
shift
logs=${TASKQUEUE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/taskqueue-operator}/logs
mkdir -p "$logs"
log=$logs/$(tr -c 'A-Za-z0-9\n' '-' <<<"$name").log
started=$(date +%s.%N)
elapsed() { awk -v a="$started" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f s", b - a }'; }

printf '==> %s\n' "$name"
"$@" >"$log" 2>&1 &
pid=$!
trap 'kill -TERM "$pid" 2>/dev/null; wait "$pid"; exit 130' INT TERM
ticks=0
while kill -0 "$pid" 2>/dev/null; do
  sleep 0.2
  ticks=$((ticks + 1))
  if [ $((ticks % 75)) -eq 0 ]; then printf '    %s: %s so far\n' "$name" "$(elapsed)"; fi
done
if wait "$pid"; then
  printf '    %s: done in %s\n' "$name" "$(elapsed)"
else
  status=$?
  printf '    %s: FAILED after %s; the last lines of %s:\n' "$name" "$(elapsed)" "$log" >&2
  tail -n 40 "$log" >&2
  exit "$status"
fi
