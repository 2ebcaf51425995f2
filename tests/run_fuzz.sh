#!/bin/sh
# Run each fuzz target for a number of seconds. run_fuzz.sh SECONDS TARGET...
set -eu
seconds=$1
shift
for target in "$@"; do
    name=$(basename "$target")
    corpus="build/corpus/$name"
    mkdir -p "$corpus"
    seeds="tests/fuzz/corpus/$name"
    [ -d "$seeds" ] || seeds=""
    # shellcheck disable=SC2086 # empty or one word
    if ! "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="build/corpus/$name-" \
        "$corpus" $seeds >"build/corpus/$name.log" 2>&1; then
        echo "FAIL $name"
        tail -n 40 "build/corpus/$name.log"
        exit 1
    fi
    echo "ok   $name: $(grep -a '^Done' "build/corpus/$name.log" || tail -n 1 "build/corpus/$name.log")"
done
