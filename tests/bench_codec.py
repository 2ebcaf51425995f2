"""The codec's kernels beside the machine's memory, faiss and turbovec: ns per vector.

    make bench-codec-speed           768 and 1536 dims, 3 rounds
    make bench-codec-speed ROUNDS=5
    BENCH_HUGE=1 ...                 kith's codes in pages of 2 MiB

Everything on one thread, pinned to one CPU, in CPU time (so that another load on the machine does not
count, but for the cache and memory it takes); engines in turn within each round, medians over rounds,
the range in brackets. kith's rows are the codec's own functions over blocks and rows, with bounds and
their comparison, one code of a thousand surviving (build/bench/bench_codec). The peers are their wheels
from PyPI, a search of the whole index for the 10 best of one query at a time, codes of residuals that
are the vectors themselves: "memory" is an index larger than the caches; "cache" is the slope between
two small ones, so that a query's fixed cost does not count. "x memory" is the time over the time this
machine's memory needs for the bytes, as read in the same rounds: 1.0 is as fast as memory. Pages are
the usual 4 KiB, as those of a mapped file are; a peer below 1 has large ones (on one machine memory was
read at 21 GB/s from the former and at 35 from the latter, 4-bit blocks in 17 and 12.7 ns)."""
import os
import statistics
import subprocess
import sys
import time

os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
import faiss  # noqa: E402
import numpy as np  # noqa: E402
import turbovec  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOL = os.path.join(ROOT, "build", "bench", "bench_codec")
ROUNDS = int(os.environ.get("ROUNDS", "3"))
DIMS = [int(dim) for dim in os.environ.get("DIMS", "768 1536").split()]
LARGE_BYTES = 96 << 20  # of codes, for "memory"
K = 10


def vectors(count, dim, seed=1):
    rows = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# ---- the peers ----

def pq_fast_scan(dim):
    index = faiss.IndexPQFastScan(dim, dim // 4, 4, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.niter = 4
    return index


def scalar_quantizer(kind):
    return lambda dim: faiss.IndexScalarQuantizer(dim, kind, faiss.METRIC_INNER_PRODUCT)


class Turbovec:
    """turbovec's index with the few names the bench needs of faiss'."""

    def __init__(self, dim, bits):
        self.index, self.bytes = turbovec.TurboQuantIndex(dim, bits), dim * bits / 8 + 4

    def train(self, rows):
        pass

    def add(self, rows):
        self.index.add(rows)

    def search(self, query, k):
        return self.index.search(query, k)


PEERS = {  # name: how to make one, bytes of a code
    "faiss IndexFlatIP": (faiss.IndexFlatIP, lambda d: 4 * d),
    "faiss SQ8": (scalar_quantizer(faiss.ScalarQuantizer.QT_8bit), lambda d: d),
    "faiss SQ4": (scalar_quantizer(faiss.ScalarQuantizer.QT_4bit), lambda d: d / 2),
    "faiss PQFastScan, 1 bit a dim": (pq_fast_scan, lambda d: d / 8),
    "faiss RaBitQFastScan 1 bit": (
        lambda d: faiss.IndexRaBitQFastScan(d, faiss.METRIC_INNER_PRODUCT), lambda d: d / 8 + 8),
    "faiss RaBitQFastScan 4 bit": (
        lambda d: faiss.IndexRaBitQFastScan(d, faiss.METRIC_INNER_PRODUCT, 32, 4), lambda d: d / 2 + 16),
    "faiss RaBitQ 1 bit": (lambda d: faiss.IndexRaBitQ(d, faiss.METRIC_INNER_PRODUCT), lambda d: d / 8 + 8),
    "faiss EDEN 1 bit": (lambda d: faiss.IndexEDEN(d, faiss.METRIC_INNER_PRODUCT, 1), lambda d: d / 8 + 8),
    "faiss EDEN 4 bit": (lambda d: faiss.IndexEDEN(d, faiss.METRIC_INNER_PRODUCT, 4), lambda d: d / 2 + 8),
    "turbovec 2 bit": (lambda d: Turbovec(d, 2), lambda d: d / 4 + 4),
    "turbovec 4 bit": (lambda d: Turbovec(d, 4), lambda d: d / 2 + 4),
}
SLOW = {"faiss RaBitQ 1 bit", "faiss EDEN 1 bit", "faiss EDEN 4 bit", "faiss SQ4", "faiss SQ8"}  # fewer codes


def build(make, dim, count, sample):
    """An index of `count` codes, and the CPU seconds one vector took to add."""
    index = make(dim)
    index.train(sample)
    added, spent = 0, 0.0
    while added < count:
        rows = sample[:min(len(sample), count - added)]
        began = time.process_time()
        index.add(rows)
        spent += time.process_time() - began
        added += len(rows)
    return index, spent / count


def query_seconds(index, queries, least=0.05):
    """CPU seconds of a query, the best of a few passes."""
    best = float("inf")
    for _ in range(3):
        began, calls = time.process_time(), 0
        while time.process_time() - began < least:
            index.search(queries[calls % len(queries)][None, :], K)
            calls += 1
        best = min(best, (time.process_time() - began) / calls)
    return best


class Peer:
    def __init__(self, name, dim, sample):
        self.name, self.dim = name, dim
        make, code_bytes = PEERS[name]
        self.bytes = code_bytes(dim)
        large = int(LARGE_BYTES / self.bytes)
        if name in SLOW:
            large = min(large, 200000)
        large = large // 1024 * 1024
        small = max(64, int((256 << 10) / self.bytes) // 64 * 64)
        self.sizes = [small, 2 * small, large]
        self.indexes, self.encode_us = [], 0.0
        for size in self.sizes:
            index, seconds = build(make, dim, size, sample)
            self.indexes.append(index)
            self.encode_us = seconds * 1e6

    def measure(self, queries):
        """(ns per vector in cache, from memory)"""
        few, more, all_ = (query_seconds(index, queries) for index in self.indexes)
        small, double, large = self.sizes
        return (more - few) / (double - small) * 1e9, all_ / large * 1e9


# ---- rounds ----

def run_kith(results):
    lines = subprocess.run([TOOL] + [str(dim) for dim in DIMS], check=True, capture_output=True, text=True).stdout
    for line in lines.splitlines():
        name, kernels, dim, place, ns, code_bytes = line.split("\t")
        entry = results.setdefault((int(dim), "kith", name, kernels), {"bytes": float(code_bytes)})
        entry.setdefault(place, []).append(float(ns))


def cell(values):
    if not values:
        return "-"
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main():
    cpu = sorted(os.sched_getaffinity(0))[-1]
    os.sched_setaffinity(0, {cpu})
    faiss.omp_set_num_threads(1)
    results, peers = {}, []
    for dim in DIMS:
        sample = vectors(8192, dim)
        for name in PEERS:
            try:
                peers.append(Peer(name, dim, sample))
            except (RuntimeError, TypeError, AttributeError, ValueError) as error:
                print(f"SKIPPED {name}, {dim} dims: {str(error).splitlines()[0]}", file=sys.stderr)
    queries = {dim: vectors(16, dim, 2) for dim in DIMS}
    for _ in range(ROUNDS):
        run_kith(results)
        for peer in peers:
            cache, memory = peer.measure(queries[peer.dim])
            entry = results.setdefault((peer.dim, "peer", peer.name, ""), {"bytes": peer.bytes})
            entry.setdefault("cache", []).append(cache)
            entry.setdefault("memory", []).append(memory)
            entry["encode"] = peer.encode_us

    memory = results.pop((0, "kith", "memory", "-"))["memory"]
    rate = 64 / statistics.median(memory)
    print(f"\nmemory: {rate:.1f} GB/s ({64 / max(memory):.1f}-{64 / min(memory):.1f}), "
          f"faiss {faiss.__version__} ({faiss.get_compile_options().strip()}), "
          f"turbovec {turbovec.__version__}, {ROUNDS} rounds, CPU {cpu}")
    for dim in DIMS:
        print(f"\n{dim} dims, ns per vector and query: median (range)\n")
        print("| scan | kernels | bytes | cache | memory | x memory |\n|---|---|---|---|---|---|")
        for (its_dim, side, name, kernels), entry in results.items():
            if its_dim != dim or "-" in entry:
                continue
            times = "-"
            if entry.get("memory"):
                times = f"{statistics.median(entry['memory']) * rate / entry['bytes']:.2f}"
            who = f"kith {name}" if side == "kith" else name
            print(f"| {who} | {kernels} | {entry['bytes']:.0f} | {cell(entry.get('cache'))} | "
                  f"{cell(entry.get('memory'))} | {times} |")
        print(f"\n{dim} dims, one vector rotated and encoded with a centre, or one query prepared\n")
        print("| what | kernels | us | GB/s of float32 |\n|---|---|---|---|")
        for (its_dim, side, name, kernels), entry in results.items():
            if its_dim == dim and "-" in entry:
                us = statistics.median(entry["-"]) / 1e3
                print(f"| kith {name} | {kernels} | {us:.2f} | {4 * dim / us / 1e3:.2f} |")
            elif its_dim == dim and side == "peer":
                print(f"| {name} (add) | | {entry['encode']:.2f} | {4 * dim / entry['encode'] / 1e3:.2f} |")


if __name__ == "__main__":
    main()
