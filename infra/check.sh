#!/usr/bin/env bash
# `make check`: every suite runs, even after one has failed; ends with their times and what was not run.
set -uo pipefail
cd "$(dirname "$0")/.."

logs=build/check
mkdir -p "$logs"
rm -f "$logs"/*.log
report="" failed=""

suite() { # NAME COMMAND…
    local name=$1 began=$SECONDS result=ok
    shift
    echo "== $name"
    "$@" </dev/null 2>&1 | tee "$logs/$name.log" || { result=FAILED; failed="$failed $name"; }
    report="$report$(printf '  %-8s %4d s  %s' "$name" $((SECONDS - began)) "$result")"$'\n'
}

for target in lint types test e2e bench; do
    suite "$target" "${MAKE:-make}" --no-print-directory "$target"
done
suite docs "${MAKE:-make}" --no-print-directory docs ARGS=--check

echo "== done"
printf '%s' "$report"
echo "not run:"
grep -hE '^SKIPPED|^not run: ' "$logs"/*.log | sort -u | sed 's/^/  /' | grep . || echo "  nothing was left out"
echo "  soak (make soak) is not part of the check"
if test -n "$failed"; then
    echo "failed:$failed"
    exit 1
fi
