#!/bin/sh
# kith on real data: start it in a fresh directory, ingest 10,000 word vectors by curl, ask for the
# nearest of a few words, compare with an exact scan, and leave the server running to play with.
set -eu
kith=${KITH:-build/kith}
python=${PYTHON:-python3}
port=${DEMO_PORT:-6333}
directory=${DEMO_DIR:-build/demo}
url="http://127.0.0.1:$port"

if [ -f "$directory/pid" ]; then # the demo before this one
    old=$(cat "$directory/pid")
    if kill -0 "$old" 2>/dev/null && grep -qF -- "$directory/data" "/proc/$old/cmdline" 2>/dev/null; then
        echo "stopping the server of the last demo (process $old)"
        kill "$old"
        while kill -0 "$old" 2>/dev/null; do sleep 0.1; done
    fi
fi
rm -rf "$directory"
mkdir -p "$directory"

if ! "$python" -c "import socket; s=socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', $port))" 2>/dev/null; then
    echo "port $port is in use; choose another: make demo DEMO_PORT=7333" >&2
    exit 1
fi
setsid "$kith" serve --data-dir "$directory/data" --port "$port" >"$directory/log" 2>&1 </dev/null &
echo $! >"$directory/pid"
tries=0
until curl -fsS "$url/readyz" >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 200 ]; then echo "the server did not start:" >&2; cat "$directory/log" >&2; exit 1; fi
    sleep 0.05
done
echo "kith is listening on $url, data in $directory/data"
echo

# Words and vectors as NDJSON, one point a line; the same vectors as NPY go into a second collection.
"$python" tests/demo_points.py >"$directory/words.ndjson"
echo "\$ curl -X POST -H 'Content-Type: application/x-ndjson' -T words.ndjson '$url/collections/words/bulk?distance=Cosine'"
curl -sS -X POST -H 'Content-Type: application/x-ndjson' -T "$directory/words.ndjson" \
    "$url/collections/words/bulk?distance=Cosine"
echo
echo "\$ curl -X POST -H 'Content-Type: application/x-npy' -T words.npy '$url/collections/vectors/bulk?distance=Cosine&first_id=0'"
curl -sS -X POST -H 'Content-Type: application/x-npy' -T tests/data/words-10k/words.npy \
    "$url/collections/vectors/bulk?distance=Cosine&first_id=0"
echo
echo
"$python" tests/demo_ask.py "$url" "${DEMO_WORDS:-music,doctor,river,seven,paris}"
cat <<TEXT

The server goes on. Try:
  curl -s $url/collections/words
  curl -s -X POST -H 'Content-Type: application/json' $url/collections/words/points/query \\
       -d '{"query": 42, "limit": 3, "with_payload": true}'
  curl -s -X PUT -H 'Content-Type: application/json' '$url/collections/words/points?wait=true' \\
       -d '{"points": [{"id": 99999, "vector": [$(seq -s, 1 100)], "payload": {"word": "mine"}}]}'
Stop it with: kill \$(cat $directory/pid)
TEXT
