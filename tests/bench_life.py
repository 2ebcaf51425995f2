"""Figures of a server's life that no single query shows:

    collections   10,000 collections of 3 points: created, each searched, restarted, each searched again
    stream        p50 and p99 of searches while 2,000 points/s stream in, beside the quiet figures
    cold          a million x 512 opened by a new process: first answer, memory; then with the files'
                  pages evicted from the page cache: p50, p99, pages read a query

    make bench-life [LIFE="collections stream"]     COLLECTIONS=10000 POINTS=1000000"""
import ctypes
import json
import os
import statistics
import subprocess
import sys
import threading
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench_index import DATA, load, mixture, normalise
from kith import Server

COLLECTIONS = int(os.environ.get("COLLECTIONS", "10000"))
POINTS = int(os.environ.get("POINTS", "1000000"))
STREAM_RATE = 2000


def descriptors(server):
    return len(os.listdir("/proc/%d/fd" % server.process.pid))


def report_process(server, what):
    anonymous, mapped = server.memory()
    print("  %-34s anonymous %6.1f MB  file-backed %7.1f MB  descriptors %d" %
          (what, anonymous / 1e6, mapped / 1e6, descriptors(server)), flush=True)


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


# ---- many collections ----

def search_each(server, connection):
    begin = time.monotonic()
    for i in range(COLLECTIONS):
        points = server.result("POST", "/collections/c%d/points/query" % i, {"query": [1, 0, 0], "limit": 1},
                               connection)["points"]
        assert points[0]["score"] == float(i + 2), points
    return time.monotonic() - begin


def bench_collections():
    print("\n%d collections of 3 points" % COLLECTIONS)
    with Server() as server:
        connection = server.connection()
        begin = time.monotonic()
        for i in range(COLLECTIONS):
            server.result("PUT", "/collections/c%d" % i, {"vectors": {"size": 3, "distance": "Dot"}}, connection)
            server.result("PUT", "/collections/c%d/points?wait=true" % i, {"points": [
                {"id": j, "vector": [i + j, 1, 1]} for j in range(3)]}, connection)
        spent = time.monotonic() - begin
        print("  created in %.1f s (%.2f ms each), searched in %.1f s" %
              (spent, 1e3 * spent / COLLECTIONS, search_each(server, connection)))
        report_process(server, "then")
        assert server.stop() == 0
        begin = time.monotonic()
        server.start()
        connection = server.connection()
        first = time.monotonic() - begin
        print("  restarted in %.0f ms, searched in %.1f s" % (1e3 * first, search_each(server, connection)))
        report_process(server, "then")
        size = subprocess.run(["du", "-sm", server.data], stdout=subprocess.PIPE, check=True).stdout.split()[0]
        print("  on disk %s MB" % size.decode())


# ---- searches under a stream ----

def timed_searches(server, collection, queries, seconds):
    connection, spent = server.connection(), []
    bodies = [json.dumps({"query": q.astype(float).tolist(), "limit": 10}).encode() for q in queries]
    end, i = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        begin = time.monotonic()
        server.result("POST", "/collections/%s/points/query" % collection, bodies[i % len(bodies)], connection)
        spent.append(time.monotonic() - begin)
        i += 1
    return spent


def stream(server, collection, rows, first_id, stop):
    connection, sent, begin = server.connection(), 0, time.monotonic()
    bodies = [json.dumps({"batch": {"ids": list(range(first_id + i, first_id + i + 100)),
                                    "vectors": rows[i:i + 100].astype(float).tolist()}}).encode()
              for i in range(0, len(rows) - 99, 100)]
    for body in bodies:
        if stop.is_set():
            break
        server.result("PUT", "/collections/%s/points" % collection, body, connection)
        sent += 100
        wait = begin + sent / STREAM_RATE - time.monotonic()
        if wait > 0:
            time.sleep(wait)
    stop.points = sent / (time.monotonic() - begin)


def bench_stream():
    print("\nsearches while %d points/s stream in" % STREAM_RATE)
    for name, metric in [("glove100-120k", "Cosine"), ("sent512-50k", "Cosine")]:
        base, queries = load(os.path.join(DATA, name), "base"), load(os.path.join(DATA, name), "queries")
        half = len(base) // 2
        with Server() as server:
            path = os.path.join(server.directory, "half.npy")
            np.save(path, base[:half])
            server.curl_npy("s", path, "?distance=%s&first_id=0" % metric)
            timed_searches(server, "s", queries, 3)
            quiet = timed_searches(server, "s", queries, 8)
            stop = threading.Event()
            feeder = threading.Thread(target=stream, args=(server, "s", base[half:], half, stop))
            feeder.start()
            busy = timed_searches(server, "s", queries, 11)
            stop.set()
            feeder.join()
            ratio = percentile(busy, .99) / percentile(quiet, .99)
            print("  %-14s quiet p50 %.2f p99 %.2f ms; streaming %.0f points/s: p50 %.2f p99 %.2f ms "
                  "(p99 %.1f times)" % (name, 1e3 * percentile(quiet, .5), 1e3 * percentile(quiet, .99),
                                        stop.points, 1e3 * percentile(busy, .5), 1e3 * percentile(busy, .99), ratio))
            for line in server.request("GET", "/metrics", raw=True)[1].decode().splitlines():
                if line.startswith("maintenance_") and not line.startswith("#") and "bucket" not in line:
                    print("    " + line)


# ---- a million, warm and cold ----

def evict(directory):
    libc = ctypes.CDLL(None, use_errno=True)
    for folder, _, files in os.walk(directory):
        for file in files:
            with open(os.path.join(folder, file), "rb") as handle:
                os.fsync(handle.fileno())
                libc.posix_fadvise(handle.fileno(), ctypes.c_long(0), ctypes.c_long(0), 4)  # DONTNEED


def major_faults(server):
    with open("/proc/%d/stat" % server.process.pid) as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[9])


def read_bytes(server):
    with open("/proc/%d/io" % server.process.pid) as file:
        return int(next(line for line in file if line.startswith("read_bytes")).split()[1])


def ask(server, connection, query):
    begin = time.monotonic()
    server.result("POST", "/collections/m/points/query", {"query": query.astype(float).tolist(), "limit": 10},
                  connection)
    return time.monotonic() - begin


def bench_cold():
    base, queries = (normalise(load(os.path.join(DATA, "sent512-50k"), part)) for part in ("base", "queries"))
    random = np.random.default_rng(1)
    with Server() as server:
        path, begin = os.path.join(server.directory, "part.npy"), time.monotonic()
        for first in range(0, POINTS, 100000):
            rows = normalise(mixture(base, min(100000, POINTS - first), random)).astype(np.float16)
            np.save(path, rows)
            server.curl_npy("m", path, "?distance=Cosine&first_id=%d" % first)
        print("\n%d x 512, generated from sentences; ingest with generation %.0f s" %
              (POINTS, time.monotonic() - begin))
        wait_for_maintenance(server)
        server.stop()
        os.remove(path)
        begin = time.monotonic()
        server.start()
        first = ask(server, server.connection(), queries[0])
        print("  new process, warm cache: first answer %.1f ms after start, the query itself %.1f ms" %
              (1e3 * (time.monotonic() - begin), 1e3 * first))
        connection = server.connection()
        warm = [ask(server, connection, q) for q in queries]
        print("  warm: p50 %.2f ms p99 %.2f ms" % (1e3 * percentile(warm, .5), 1e3 * percentile(warm, .99)))
        report_process(server, "after 1,000 queries")
        server.stop()
        evict(server.data)
        server.start()
        connection, cold, pages = server.connection(), [], []
        for q in queries[:300]:
            before = read_bytes(server)
            cold.append(ask(server, connection, q))
            pages.append((read_bytes(server) - before) / 4096)
        print("  evicted: p50 %.2f ms p99 %.2f ms; pages read a query: first 20 mean %.0f, last 100 mean %.0f; "
              "%d major faults" % (1e3 * percentile(cold, .5), 1e3 * percentile(cold, .99),
                                   statistics.mean(pages[:20]), statistics.mean(pages[-100:]), major_faults(server)))


def wait_for_maintenance(server):
    """Until the server says nothing is left to move, if it says so."""
    while True:
        lines = server.request("GET", "/metrics", raw=True)[1].decode().splitlines()
        left = [float(line.split()[-1]) for line in lines if line.startswith("maintenance_backlog_codes")]
        if not left or sum(left) == 0:
            return
        time.sleep(0.5)


def main():
    chosen = sys.argv[1:] or ["collections", "stream", "cold"]
    for name in chosen:
        {"collections": bench_collections, "stream": bench_stream, "cold": bench_cold}[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
