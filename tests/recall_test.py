"""The four sets of ../shared/data through the front door: ingested by curl as NPY with default
settings, recall@10 of 1,000 queries at least 0.99 each, scores against float64 brute force.

Recall is tie-aware: a hit counts if its exact distance is at most the k-th true one. Scores must be
within 1e-5 * max(|score|, |q||x|)."""
import gzip
import json
import os
import sys
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from kith import ROOT, Server

DATA = os.path.join(ROOT, "..", "shared", "data")
SETS = [("glove100-120k", "base.npy", "Cosine"), ("sent512-50k", "base.npy", "Cosine"),
        ("sift128-120k", "base.npy", "Euclid"), ("mnist784-60k", "base.npy.gz", "Euclid")]
K = 10
FLOOR = 0.99


def load(path):
    if path.endswith(".gz"):
        with gzip.open(path) as packed:
            return np.load(packed)
    return np.load(path)


def exact_scores(base, norms, query, ids, metric):
    """float64 scores of the given rows, as a client sees them."""
    rows = base[ids].astype(np.float64)
    q = query.astype(np.float64)
    if metric == "Cosine":
        return rows @ q / (np.linalg.norm(q) * norms[ids])
    return np.sqrt(((rows - q) ** 2).sum(axis=1))


def check_query(base, norms, query, truth, points, metric):
    """(hits among the true k, worst score error in units of its bound)."""
    ids = np.array([p["id"] for p in points])
    scores = np.array([p["score"] for p in points])
    exact = exact_scores(base, norms, query, ids, metric)
    kth = exact_scores(base, norms, query, truth[K - 1:K], metric)[0]
    slack = 1e-9 * max(1.0, abs(kth))
    hits = (exact >= kth - slack) if metric == "Cosine" else (exact <= kth + slack)
    lengths = 1.0 if metric == "Cosine" else norms[ids] * np.linalg.norm(query.astype(np.float64))
    bound = 1e-5 * np.maximum(np.abs(exact), lengths)
    assert len(set(ids.tolist())) == len(ids), "an id twice in one answer"
    better = np.diff(scores) <= 0 if metric == "Cosine" else np.diff(scores) >= 0
    assert better.all(), "scores out of order"
    return int(hits.sum()), float((np.abs(scores - exact) / bound).max())


def run(server, name, file, metric):
    folder = os.path.join(DATA, name)
    base, queries = load(os.path.join(folder, file)), np.load(os.path.join(folder, "queries.npy"))
    truth = np.load(os.path.join(folder, "gt_ids.npy"))
    norms = np.linalg.norm(base.astype(np.float64), axis=1)
    begin = time.monotonic()
    reply = server.curl_npy(name, os.path.join(folder, file), "?distance=%s&first_id=0" % metric,
                            file.endswith(".gz"))
    ingest = time.monotonic() - begin
    assert reply.get("status") == "ok", reply
    info = server.result("GET", "/collections/" + name)
    assert info["points_count"] == len(base), info
    connection = server.connection()
    hits, worst, spent = 0, 0.0, []
    for i, query in enumerate(queries):
        body = json.dumps({"query": [float(x) for x in query], "limit": K}).encode()
        begin = time.monotonic()
        points = server.result("POST", "/collections/%s/points/query" % name, body,
                               connection)["points"]
        spent.append(time.monotonic() - begin)
        assert len(points) == K
        found, error = check_query(base, norms, query, truth[i], points, metric)
        hits, worst = hits + found, max(worst, error)
    recall = hits / (K * len(queries))
    spent.sort()
    print("%-14s %7d x %3d  ingest %5.1f s  recall@10 %.4f  worst score error %.2f of bound  "
          "p50 %.2f ms  p99 %.2f ms" % (name, len(base), base.shape[1], ingest, recall, worst,
                                        1e3 * spent[len(spent) // 2],
                                        1e3 * spent[len(spent) * 99 // 100]), flush=True)
    return recall >= FLOOR and worst <= 1.0


def main():
    if not os.path.isdir(DATA):
        print("left out: ../shared/data is not here")
        print("0 passed, 0 failed")
        return 0
    with Server() as server:
        good = sum(run(server, *row) for row in SETS)
    print("%d passed, %d failed" % (good, len(SETS) - good))
    return 0 if good == len(SETS) else 1


if __name__ == "__main__":
    sys.exit(main())
