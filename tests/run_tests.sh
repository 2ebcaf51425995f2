#!/bin/sh
# What `make test` runs: the unit tests, then the server from outside. Closes with one line of counts.
set -u
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
tests/run_unit.sh "$@" | tee "$log"
unit=$(tail -n 1 "$log")
for script in tests/e2e/*_test.py; do
    [ -e "$script" ] || continue
    echo "---- $script"
    "$PYTHON" "$script" >"$log.e2e" 2>&1 || status=1
    cat "$log.e2e"
    unit="$unit
$(tail -n 1 "$log.e2e")"
done
rm -f "$log.e2e"
passed=$(echo "$unit" | awk '/passed, [0-9]+ failed/{s+=$1} END{print s+0}')
failed=$(echo "$unit" | awk '/passed, [0-9]+ failed/{s+=$3} END{print s+0}')
[ "$status" = 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
