"""Filtered search beside the same search without a filter, over HTTP on one connection: the ratio of the
latencies and the recall@10 (tie-aware, against an exact scan of the points that match) where 0.1, 1, 10
and 50 % of 100,000 points match, by a keyword, an integer range, a place in a box (all indexed) and an
integer range without an index. Interleaved: every query is asked unfiltered, then with each filter; a ratio
is that of medians over the queries. Two columns of latency: as the client sees it, and the server's CPU
time per query, which a busy machine does not spoil.

    make bench-filter FILTER="glove100-120k sent512-50k" QUERIES=200"""
import http.client
import json
import os
import statistics
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from kith import ROOT, Server

DATA = os.path.join(ROOT, "..", "shared", "data")
POINTS = int(os.environ.get("POINTS", "100000"))
QUERIES = int(os.environ.get("QUERIES", "200"))
SHARES = (0.001, 0.01, 0.1, 0.5)
RANGE = 1000000
K = 10


def load(name):
    """float32 rows and queries, cosine: normalised. Sets of fewer rows than POINTS are used whole."""
    rows = np.load(os.path.join(DATA, name, "base.npy"))[:POINTS].astype(np.float32)
    queries = np.load(os.path.join(DATA, name, "queries.npy"))[:QUERIES].astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return rows, queries


class Payloads:
    def __init__(self, count):
        rng = np.random.default_rng(7)
        self.draw = rng.random(count)                # keyword: which of the nested shares
        self.number = rng.integers(0, RANGE, count)  # with an index
        self.plain = rng.integers(0, RANGE, count)   # without
        self.lon, self.lat = rng.random(count) * 100, rng.random(count) * 50

    def of(self, i):
        tags = ["s%g" % share for share in SHARES if self.draw[i] < share]
        return {"tags": tags + ["all"], "n": int(self.number[i]), "u": int(self.plain[i]),
                "at": {"lon": float(self.lon[i]), "lat": float(self.lat[i])}}

    def conditions(self, share):
        """name -> (condition, mask)"""
        side = share ** 0.5
        limit = int(share * RANGE)
        return {
            "keyword": ({"key": "tags", "match": {"value": "s%g" % share}}, self.draw < share),
            "range": ({"key": "n", "range": {"lt": limit}}, self.number < limit),
            "geo": ({"key": "at", "geo_bounding_box": {
                "top_left": {"lon": 0, "lat": 50 * side}, "bottom_right": {"lon": 100 * side, "lat": 0}}},
                    (self.lon > 0) & (self.lon < 100 * side) & (self.lat > 0) & (self.lat < 50 * side)),
            "no index": ({"key": "u", "range": {"lt": limit}}, self.plain < limit),
        }


def ingest(server, rows, payloads):
    server.result("PUT", "/collections/f", {"vectors": {"size": rows.shape[1], "distance": "Cosine"}})
    for name, kind in (("tags", "keyword"), ("n", "integer"), ("at", "geo")):
        server.result("PUT", "/collections/f/index?wait=true", {"field_name": name, "field_schema": kind})
    connection = server.connection(600)
    for begin in range(0, len(rows), 2000):
        lines = "".join('{"id":%d,"vector":%s,"payload":%s}\n' % (
            i, json.dumps([round(float(x), 7) for x in rows[i]]), json.dumps(payloads.of(i)))
            for i in range(begin, min(begin + 2000, len(rows))))
        server.result("POST", "/collections/f/bulk", lines.encode(), connection,
                      {"Content-Type": "application/x-ndjson"})


def settle(server):
    """Until maintenance has nothing to move: a server that does nothing takes no CPU time."""
    quiet = 0
    while quiet < 5:
        before = server.cpu_seconds()
        time.sleep(0.4)
        quiet = quiet + 1 if server.cpu_seconds() - before < 0.02 else 0


class Asker:
    def __init__(self, server):
        self.server, self.connection = server, server.connection()
        with open("/proc/%d/stat" % server.process.pid):
            pass

    def cpu(self):
        """Nanoseconds the server's threads have run, by the scheduler's own clock."""
        total, tasks = 0, "/proc/%d/task" % self.server.process.pid
        for task in os.listdir(tasks):
            with open(os.path.join(tasks, task, "schedstat")) as line:
                total += int(line.read().split()[0])
        return total

    def ask(self, body):
        cpu, begin = self.cpu(), time.perf_counter()
        self.connection.request("POST", "/collections/f/points/query", body,
                                {"Content-Type": "application/json"})
        reply = self.connection.getresponse().read()
        seconds = time.perf_counter() - begin
        return [p["id"] for p in json.loads(reply)["result"]["points"]], seconds, self.cpu() - cpu


def bench(name):
    rows, queries = load(name)
    payloads = Payloads(len(rows))
    cases = [("unfiltered", None, None, np.ones(len(rows), bool))]
    for share in SHARES:
        for kind, (condition, mask) in payloads.conditions(share).items():
            cases.append((kind, share, condition, mask))
    with tempfile.TemporaryDirectory(prefix="kith-bench-") as folder, Server(folder) as server:
        ingest(server, rows, payloads)
        settle(server)
        asker = Asker(server)
        seconds, cpus, hits = ([[] for _ in cases] for _ in range(3))
        for query in queries:
            scores = rows @ query
            for i, (_, _, condition, mask) in enumerate(cases):
                body = {"query": [round(float(x), 7) for x in query], "limit": K}
                if condition is not None:
                    body["filter"] = {"must": [condition]}
                ids, took, cpu = asker.ask(json.dumps(body))
                among = np.where(mask, scores, -np.inf)
                want = min(K, int(mask.sum()))
                least = np.partition(among, -want)[-want] if want else np.inf
                assert all(mask[j] for j in ids), "a point that does not match"
                seconds[i].append(took)
                cpus[i].append(cpu)
                hits[i].append(sum(among[j] >= least - 1e-6 for j in ids) / want if want else 1.0)
    print("%s: %d x %d, %d queries" % (name, *rows.shape, len(queries)))
    print("%-12s %7s %9s %7s %9s %7s %8s" % ("filter", "matches", "ms", "ratio", "cpu ms", "ratio", "recall"))
    first, first_cpu = statistics.median(seconds[0]), statistics.median(cpus[0])
    for i, (kind, share, _, _) in enumerate(cases):
        middle, cpu = statistics.median(seconds[i]), statistics.median(cpus[i])
        print("%-12s %7s %9.3f %7.2f %9.3f %7.2f %8.4f" % (
            kind, "" if share is None else "%g %%" % (100 * share), 1e3 * middle, middle / first,
            cpu / 1e6, cpu / first_cpu, statistics.mean(hits[i])), flush=True)


if __name__ == "__main__":
    for dataset in sys.argv[1:] or ["glove100-120k", "sent512-50k"]:
        bench(dataset)
