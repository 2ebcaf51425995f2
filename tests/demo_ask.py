"""Ask a running kith for the neighbours of some words, and compare 200 answers with an exact scan."""
import http.client
import json
import os
import sys
import time
from urllib.parse import urlparse

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "words-10k")
K = 10


def main():
    url, wanted = urlparse(sys.argv[1]), sys.argv[2].split(",")
    headers = {"Content-Type": "application/json"}
    if os.environ.get("KITH_API_KEY"):
        headers["api-key"] = os.environ["KITH_API_KEY"]
    connection = http.client.HTTPConnection(url.hostname, url.port)

    def query(body):
        begin = time.monotonic()
        connection.request("POST", "/collections/words/points/query", json.dumps(body), headers)
        reply = json.loads(connection.getresponse().read())
        if reply.get("status") != "ok":
            sys.exit("query failed: %s" % reply)
        return reply["result"]["points"], (time.monotonic() - begin) * 1e3

    with open(os.path.join(FOLDER, "words.txt")) as words:
        ids = {word: i for i, word in enumerate(words.read().split())}
    for word in wanted:
        points, ms = query({"query": ids[word], "limit": 5, "with_payload": True})
        near = "  ".join("%s %.3f" % (p["payload"]["word"], p["score"]) for p in points)
        print("%-8s -> %s   (%.2f ms)" % (word, near, ms))
    hits, times, exact_times = 0, [], []
    for i in range(0, len(ids), len(ids) // 200):
        points, ms = query({"query": i, "limit": K})
        exact, exact_ms = query({"query": i, "limit": K, "params": {"exact": True}})
        kth = exact[-1]["score"]
        hits += sum(p["score"] >= kth for p in points)
        times.append(ms)
        exact_times.append(exact_ms)
    recall = hits / (K * len(times))
    median = sorted(times)[len(times) // 2], sorted(exact_times)[len(times) // 2]
    print("\n%d queries: recall@%d %.4f against the exact scan; median %.2f ms (exact %.2f ms)"
          % (len(times), K, recall, *median))
    return 0 if recall >= 0.99 else 1


if __name__ == "__main__":
    sys.exit(main())
