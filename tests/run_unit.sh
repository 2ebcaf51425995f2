#!/bin/sh
# Run cmocka programs one after another; print what failed and a closing count of tests.
set -u
passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for test in "$@"; do
    started=$(date +%s)
    if timeout "${TEST_SECONDS:-600}" "$test" >"$log" 2>&1; then ok=1; else ok=0; fi
    good=$(grep -c '^\[       OK \]' "$log")
    passed=$((passed + good))
    if [ "$ok" = 1 ]; then
        echo "ok   $(basename "$test"): $good tests, $(($(date +%s) - started)) s"
        grep -a 'SKIPPED' "$log" | sort -u | head -5
    else
        failed=$((failed + 1))
        echo "FAIL $(basename "$test")"
        tail -n 60 "$log"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
