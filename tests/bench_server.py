"""The server's figures beside the machine's own limits, in one run:

the 1-bit scan (ns a vector, share of the memory's rate); ingest over HTTP at 768 dims as JSON, NDJSON
and NPY (points/s, MB/s of body, MB of body a second of server CPU) next to plain LMDB puts of the same
vectors with the same commits; queries/s, p50 and p99 with 1 and 8 connections; resident memory, anonymous
and file-backed, at up to 200,000 x 512. Everything that is compared is interleaved; medians.

    make bench BENCH="scan ingest query memory" REPEATS=5"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from kith import ROOT, Server

REPEATS = int(os.environ.get("REPEATS", "5"))
TOOLS = os.path.join(ROOT, "build", "bench")
REQUEST_POINTS = 500
MEMORY_STEP = 20000
DATA = os.path.join(ROOT, "..", "shared", "data")


def tool(name, *arguments):
    done = subprocess.run([os.path.join(TOOLS, name), *map(str, arguments)], check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return [float(x) for x in done.stdout.decode().split()]


def curl(server, path, kind, file, method="POST"):
    line = ["curl", "-sS", "-X", method, "-H", "Content-Type: " + kind, "-H", "Expect:", "-T", file,
            "http://127.0.0.1:%d%s" % (server.port, path)]
    reply = json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout)
    assert reply["status"] == "ok", reply


def bodies(folder, rows):
    """Files of the same rows as JSON requests of REQUEST_POINTS, one NDJSON and one NPY."""
    texts = [json.dumps([float(x) for x in row]) for row in rows]
    files = {"JSON": [], "NDJSON": [os.path.join(folder, "rows.ndjson")],
             "NPY": [os.path.join(folder, "rows.npy")]}
    with open(files["NDJSON"][0], "w") as out:
        out.writelines('{"id":%d,"vector":%s}\n' % (i, t) for i, t in enumerate(texts))
    np.save(files["NPY"][0], rows)
    for begin in range(0, len(rows), REQUEST_POINTS):
        path = os.path.join(folder, "rows-%d.json" % begin)
        with open(path, "w") as out:
            out.write('{"points":[%s]}' % ",".join('{"id":%d,"vector":%s}' % (i, texts[i])
                                                   for i in range(begin, min(begin + REQUEST_POINTS, len(rows)))))
        files["JSON"].append(path)
    return files


def ingest_once(kind, files):
    """(seconds, server CPU seconds) to ingest into a fresh server."""
    with Server() as server:
        server.result("PUT", "/collections/b", {"vectors": {"size": 768, "distance": "Cosine"}})
        cpu, begin = server.cpu_seconds(), time.monotonic()
        if kind == "JSON":
            connection = server.connection()
            for path in files:
                with open(path, "rb") as body:
                    server.result("PUT", "/collections/b/points", body.read(), connection)
        elif kind == "NDJSON":
            curl(server, "/collections/b/bulk", "application/x-ndjson", files[0])
        else:
            curl(server, "/collections/b/bulk?first_id=0", "application/x-npy", files[0])
        return time.monotonic() - begin, server.cpu_seconds() - cpu


def bench_scan():
    dims = (100, 128, 512, 768, 1536)
    memory, runs = [], {dim: [] for dim in dims}
    with tempfile.TemporaryDirectory(prefix="kith-bench-") as folder:
        for _ in range(REPEATS):
            memory += tool("bench_limits", "memory", folder)
            for dim in dims:
                runs[dim].append(tool("bench_scan", folder, dim))
    rate = statistics.median(memory)
    print("\n1-bit scan; memory read %.1f GB/s (best of 5 sums over 1 GiB, median of %d)" % (rate, REPEATS))
    print("%8s %12s %8s %10s" % ("dims", "ns/vector", "GB/s", "of memory"))
    for dim in dims:
        ns, gb = (statistics.median(run[i] for run in runs[dim]) for i in (1, 2))
        print("%8d %12.2f %8.1f %9.0f%%" % (dim, ns, gb, 100 * gb / rate), flush=True)


def bench_ingest():
    count, dim = 20000, 768
    rows = np.random.default_rng(1).standard_normal((count, dim)).astype(np.float32)
    groups = {"JSON": REQUEST_POINTS, "NDJSON": 1024, "NPY": 1024}  # points a commit
    with tempfile.TemporaryDirectory(prefix="kith-bench-") as folder:
        files = bodies(folder, rows)
        runs, plain = {kind: [] for kind in files}, {kind: [] for kind in files}
        for _ in range(REPEATS):
            for kind in files:
                plain[kind].append(tool("bench_limits", "lmdb", folder, dim * 4, count, groups[kind]))
                runs[kind].append(ingest_once(kind, files[kind]))
        print("\ningest over HTTP, one client, %d x %d; LMDB: plain puts of the same bytes, same commits"
              % (count, dim))
        print("%-8s %9s %7s %12s %13s | %14s %15s %8s" % (
            "body", "points/s", "MB/s", "MB/CPU s", "CPU us/point", "LMDB points/s", "CPU us/point", "of LMDB"))
        for kind, times in runs.items():
            size = sum(map(os.path.getsize, files[kind])) / 1e6
            wall, cpu = (statistics.median(t[i] for t in times) for i in (0, 1))
            rate, lmdb_cpu = (statistics.median(p[i] for p in plain[kind]) for i in (0, 1))
            share = statistics.median(count / t[0] / p[0] for t, p in zip(times, plain[kind]))
            print("%-8s %9.0f %7.0f %12.0f %13.1f | %14.0f %15.1f %8.2f" % (
                kind, count / wall, size / wall, size / cpu, 1e6 * cpu / count, rate, lmdb_cpu, share),
                flush=True)


def query_set():
    """(name, base file, queries, metric): real data where it is, else the sample in the repository."""
    found = []
    for name, metric in [("glove100-120k", "Cosine"), ("sent512-50k", "Cosine"), ("sift128-120k", "Euclid")]:
        folder = os.path.join(DATA, name)
        if os.path.isdir(folder):
            found.append((name, os.path.join(folder, "base.npy"),
                          np.load(os.path.join(folder, "queries.npy")), metric))
    if not found:
        sample = os.path.join(ROOT, "tests", "data", "words-10k", "words.npy")
        found.append(("words-10k", sample, np.load(sample)[::10], "Cosine"))
    return found


def bench_query():
    print("\nqueries over HTTP, limit 10, median of %d" % REPEATS)
    print("%-14s %5s %12s %10s %10s" % ("set", "conn", "queries/s", "p50 us", "p99 us"))
    with Server() as server, tempfile.TemporaryDirectory(prefix="kith-bench-") as folder:
        for name, file, queries, metric in query_set():
            server.curl_npy(name, file, "?distance=%s&first_id=0" % metric)
            path = os.path.join(folder, name)
            with open(path, "w") as out:
                out.writelines(json.dumps({"query": [float(x) for x in q], "limit": 10}) + "\n" for q in queries)
            route = "/collections/%s/points/query" % name
            tool("bench_load", server.port, route, path, 2, 500)
            for connections in (1, 8):
                runs = [tool("bench_load", server.port, route, path, connections, 2000) for _ in range(REPEATS)]
                print("%-14s %5d %12.0f %10.0f %10.0f" % (name, connections, *(
                    statistics.median(r[i] for r in runs) for i in range(3))), flush=True)


def bench_memory():
    print("\nresident memory, 512 dims")
    print("%10s %16s %16s" % ("points", "anonymous MB", "file-backed MB"))
    rng = np.random.default_rng(2)
    with Server() as server, tempfile.TemporaryDirectory(prefix="kith-bench-") as folder:
        path = os.path.join(folder, "rows.npy")
        np.save(path, rng.standard_normal((MEMORY_STEP, 512)).astype(np.float32))
        for done in range(0, 200000, MEMORY_STEP):
            server.curl_npy("m", path, "?distance=Cosine&first_id=%d" % done)
            for _ in range(50):
                server.result("POST", "/collections/m/points/query",
                              {"query": [float(x) for x in rng.standard_normal(512)], "limit": 10})
            if done + MEMORY_STEP in (20000, 100000, 200000):
                anonymous, file_backed = server.memory()
                print("%10d %16.1f %16.1f" % (done + MEMORY_STEP, anonymous / 1e6, file_backed / 1e6), flush=True)


def main():
    benches = {"scan": bench_scan, "ingest": bench_ingest, "query": bench_query, "memory": bench_memory}
    for name in sys.argv[1:] or benches:
        benches[name]()


if __name__ == "__main__":
    main()
