"""kith's index beside hnswlib and faiss: recall@10 against queries/s, build time and bytes a vector.

    make bench-index                      the four sets of ../shared/data
    make bench-index SETS="million-100"   a million points (below); or sets by name, "words-10k" too

Everything on one thread, engines in turn within each round, medians over rounds. Queries/s are per
second of that thread's CPU time, so that another load on the machine does not count; build times are
wall times, flushes included; kith's ends when all is in and divided, what an idle server polishes
later is given beside it. hnswlib is Debian's,
compiled natively (M 16, efConstruction 200); faiss is faiss-cpu's wheel. The million-point sets are
GENERATED from a real set: points are drawn from its own clusters (2,048 centres of k-means), each the
centre plus two residuals of other points of the cluster, mixed at a random angle; queries are the
real ones. So their clusters and residuals are real, their fine structure is not.

Recall is tie-aware: a hit counts if its exact distance is at most the k-th true one.
Prints a table, and writes build/bench/index.json and a plot, build/bench/index-SET.svg."""
import argparse
import gzip
import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DATA = os.path.join(ROOT, "..", "shared", "data")
BENCH = os.path.join(ROOT, "build", "bench")
VENV_PYTHON = os.path.join(ROOT, "build", "venv", "bin", "python")
K = 10
SETS = {"glove100-120k": "COSINE", "sent512-50k": "COSINE", "sift128-120k": "EUCLID",
        "mnist784-60k": "EUCLID"}
MILLIONS = {"million-100": ("glove100-120k", 1000000), "million-512": ("sent512-50k", 1000000)}
EF = [10, 12, 16, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 896, 1280, 2048, 3072]
NPROBE = [2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
ASKED = [0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999]
TARGETS = [0.95, 0.99]
COLOURS = {"kith": "#c0392b", "hnswlib": "#2c3e50", "faiss-hnsw": "#7f8c8d", "faiss-ivfpq": "#2980b9"}


# ---- the sets ----

def load(folder, name):
    path = os.path.join(folder, name + ".npy")
    if os.path.exists(path):
        return np.load(path).astype(np.float32)
    with gzip.open(path + ".gz") as packed:
        return np.load(packed).astype(np.float32)


def normalise(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


def exact_keys(base, queries, metric, k):
    """Keys (larger is better) of the k best of each query, ids too: float32 products, float64 at the end."""
    keys, ids = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
    squares = (base ** 2).sum(axis=1)
    for i in range(0, len(queries), 50):
        part = queries[i:i + 50]
        score = part @ base.T
        if metric == "EUCLID":
            score = 2 * score - squares
        best = np.argpartition(-score, k + 20, axis=1)[:, :k + 20]
        exact = keys_of(base, part, best, metric)
        order = np.argsort(-exact, axis=1)[:, :k]
        keys[i:i + 50] = np.take_along_axis(exact, order, 1)
        ids[i:i + 50] = np.take_along_axis(best, order, 1)
    return keys, ids


def keys_of(base, queries, ids, metric):
    rows = base[ids].astype(np.float64)
    q = queries[:, None, :].astype(np.float64)
    return (rows * q).sum(axis=2) if metric == "COSINE" else -((rows - q) ** 2).sum(axis=2)


def k_means(rows, count, rounds, random):
    centres = rows[random.choice(len(rows), count, replace=False)].copy()
    for _ in range(rounds):
        nearest = assign(rows, centres)
        for c in range(count):
            members = rows[nearest == c]
            if len(members):
                centres[c] = members.mean(axis=0)
    return centres, assign(rows, centres)


def assign(rows, centres):
    half = 0.5 * (centres ** 2).sum(axis=1)
    return np.concatenate([np.argmax(rows[i:i + 20000] @ centres.T - half, axis=1)
                           for i in range(0, len(rows), 20000)])


def mixture(rows, count, random):
    centres, nearest = k_means(rows, 2048, 6, random)
    members = [np.flatnonzero(nearest == c) for c in range(len(centres))]
    picked = nearest[random.integers(0, len(rows), count)]
    out = np.empty((count, rows.shape[1]), np.float32)
    for c in range(len(centres)):
        at = np.flatnonzero(picked == c)
        if not len(at):
            continue
        residuals = rows[members[c]] - centres[c]
        one, two = (residuals[random.integers(0, len(residuals), len(at))] for _ in range(2))
        angle = random.uniform(0, math.pi / 2, (len(at), 1)).astype(np.float32)
        out[at] = centres[c] + np.cos(angle) * one + np.sin(angle) * two
    return out


def prepare(name, points):
    """Folder with base.f32 and queries.f32 (normalised for cosine) and truth.npy; made once."""
    source, count = MILLIONS.get(name, (name, 0))
    metric = SETS[source]
    folder = os.path.join(BENCH, name + ("-%d" % points if points else ""))
    if os.path.exists(os.path.join(folder, "truth.npy")):
        return folder, metric
    os.makedirs(folder, exist_ok=True)
    base = load(os.path.join(DATA, source), "base")
    queries = load(os.path.join(DATA, source), "queries")
    if metric == "COSINE":
        base, queries = normalise(base), normalise(queries)
    if count:
        base = mixture(base, points or count, np.random.default_rng(1))
        base = normalise(base) if metric == "COSINE" else base
    elif points:
        base = base[:points]
    base.astype(np.float32).tofile(os.path.join(folder, "base.f32"))
    queries.astype(np.float32).tofile(os.path.join(folder, "queries.f32"))
    keys, _ = exact_keys(base, queries, metric, K)
    np.save(os.path.join(folder, "truth.npy"), keys[:, K - 1])
    return folder, metric


# ---- the engines ----

class Engine:
    def __init__(self, name, command, efforts, folder, dim, metric):
        self.name, self.efforts, self.out = name, efforts, os.path.join(folder, name + ".ids")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.recall, self.spent, self.work = {}, {}, {}
        self.build_seconds = self.bytes = None

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if not answer:
            raise SystemExit("%s ended" % self.name)
        return answer

    def build(self):
        answer = self.ask("build")
        self.build_seconds, self.bytes = float(answer[1]), int(answer[2])
        self.idle_seconds = float(answer[3]) if len(answer) > 3 else 0.0

    def search(self, effort):
        answer = self.ask("search %s %s" % (effort, self.out))
        self.spent.setdefault(effort, []).append(float(answer[1]))
        self.work[effort] = [float(x) for x in answer[2:]]
        return np.fromfile(self.out, np.int32).reshape(-1, K)

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def curve(self, queries):
        """(recall, queries/s) by effort, best first where a dearer effort is no better."""
        rows = [(self.recall[e], queries / float(np.median(self.spent[e])), e) for e in self.recall]
        return sorted(rows)

    def at(self, target, queries):
        """Queries/s at a recall, interpolated in log(1 - recall) between the efforts around it."""
        best = None
        curve = self.curve(queries)
        for recall, rate, _ in curve:
            if recall >= target and (best is None or rate > best):
                best = rate
        for (r0, q0, _), (r1, q1, _) in zip(curve, curve[1:]):
            if r0 < target <= r1 and r1 < 1:
                t = (math.log(1 - r0) - math.log(1 - target)) / (math.log(1 - r0) - math.log(1 - r1))
                rate = math.exp(math.log(q0) + t * (math.log(q1) - math.log(q0)))
                best = max(best or 0, rate)
        return best


def engines(names, folder, dim, metric):
    files = [os.path.join(folder, "base.f32"), os.path.join(folder, "queries.f32"), str(dim), metric, str(K)]
    directory = os.path.join(folder, "kith")
    shutil.rmtree(directory, ignore_errors=True)
    faiss = [VENV_PYTHON, os.path.join(ROOT, "tests", "bench_index_faiss.py")]
    commands = {"kith": ([os.path.join(BENCH, "kith-index")] + files + [directory], ASKED),
                "hnswlib": ([os.path.join(BENCH, "hnsw")] + files, EF),
                "faiss-hnsw": (faiss + ["hnsw"] + files, EF),
                "faiss-ivfpq": (faiss + ["ivfpq"] + files, NPROBE)}
    return [Engine(n, commands[n][0], commands[n][1], folder, dim, metric) for n in names]


def tie_aware(base, queries, ids, kth, metric):
    keys = keys_of(base, queries, np.maximum(ids, 0), metric)
    slack = 1e-6 * np.maximum(1.0, np.abs(kth))[:, None]
    return float(((keys >= kth[:, None] - slack) & (ids >= 0)).sum()) / ids.size


# ---- the plot ----

def plot(path, title, curves, queries):
    width, height, left, bottom = 760, 480, 74, 56
    x_of = lambda r: left + (width - left - 20) * (-math.log10(max(1 - r, 1e-4)) - 0.3) / 3.2
    rates = [q for e in curves for _, q, _ in e.curve(queries)]
    low, high = math.log10(min(rates)) - 0.05, math.log10(max(rates)) + 0.05
    y_of = lambda q: 40 + (height - 40 - bottom) * (high - math.log10(q)) / (high - low)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" '
           'font-size="13"><rect width="100%%" height="100%%" fill="white"/>' % (width, height),
           '<text x="%d" y="24" font-size="16">%s</text>' % (left, title)]
    for r in [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999]:
        x = x_of(r)
        out.append('<line x1="%.1f" x2="%.1f" y1="40" y2="%d" stroke="#ddd"/>' % (x, x, height - bottom))
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%g</text>' % (x, height - bottom + 18, r))
    for exponent in range(int(low), int(high) + 2):
        for m in (1, 2, 5):
            q = m * 10 ** exponent
            if low <= math.log10(q) <= high:
                y = y_of(q)
                out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>' % (left, width - 20, y, y))
                out.append('<text x="%d" y="%.1f" text-anchor="end">%s</text>' % (left - 6, y + 4, format(q, ",")))
    for i, engine in enumerate(curves):
        rows = [(x_of(r), y_of(q)) for r, q, _ in engine.curve(queries) if r >= 0.5]
        colour = COLOURS[engine.name]
        out.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>' %
                   (colour, " ".join("%.1f,%.1f" % row for row in rows)))
        out += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (x, y, colour) for x, y in rows]
        out.append('<rect x="%d" y="%d" width="12" height="12" fill="%s"/>' % (width - 150, 50 + 20 * i, colour))
        out.append('<text x="%d" y="%d">%s</text>' % (width - 132, 61 + 20 * i, engine.name))
    out.append('<text x="%d" y="%d" text-anchor="middle">recall@10</text>' % ((left + width) // 2, height - 12))
    out.append('<text transform="translate(18,%d) rotate(-90)" text-anchor="middle">queries/s, one thread</text>'
               % (height // 2))
    out.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(out))


# ---- a run ----

def run(name, names, rounds, points):
    folder, metric = prepare(name, points)
    kth = np.load(os.path.join(folder, "truth.npy"))
    queries_count = len(kth)
    dim = os.path.getsize(os.path.join(folder, "queries.f32")) // (4 * queries_count)
    base = np.memmap(os.path.join(folder, "base.f32"), np.float32, "r").reshape(-1, dim)
    queries = np.fromfile(os.path.join(folder, "queries.f32"), np.float32).reshape(-1, dim)
    running = engines(names, folder, dim, metric)
    for engine in running:
        engine.build()
        for effort in engine.efforts:
            ids = engine.search(effort)
            engine.recall[effort] = tie_aware(base, queries, ids, kth, metric)
            if engine.name != "kith" and engine.recall[effort] >= 0.997:
                break
    for _ in range(rounds - 1):
        for engine in running:
            for effort in engine.recall:
                engine.search(effort)
    print("\n%s: %d x %d, %s, %d queries" % (name, len(base), dim, metric.lower(), queries_count))
    peer = next((e for e in running if e.name == "hnswlib"), None)
    result = {"set": name, "points": len(base), "dim": dim, "engines": {}}
    for engine in running:
        rates = [engine.at(t, queries_count) for t in TARGETS]
        ratios = [r / peer.at(t, queries_count) if peer and r and peer.at(t, queries_count) else None
                  for r, t in zip(rates, TARGETS)]
        print("  %-12s build %7.2f s%s  %6.0f B/vector  " % (
            engine.name, engine.build_seconds,
            " (1/%.1f of hnswlib)" % (peer.build_seconds / engine.build_seconds) if peer else "",
            engine.bytes / len(base)) + ("(idle upkeep %.1f s)  " % engine.idle_seconds
                                         if engine.idle_seconds else "") + "  ".join(
            "at %.2f: %s q/s%s" % (t, "%.0f" % r if r else "-", " (%.2fx)" % q if q else "")
            for t, r, q in zip(TARGETS, rates, ratios)), flush=True)
        for recall, rate, effort in engine.curve(queries_count):
            print("      %-7s recall %.4f  %9.0f q/s  %s" % (
                effort, recall, rate, " ".join("%.0f" % w for w in engine.work[effort])))
        result["engines"][engine.name] = {
            "build_seconds": engine.build_seconds, "bytes": engine.bytes, "ratios": ratios,
            "curve": engine.curve(queries_count)}
    plot(os.path.join(BENCH, "index-%s.svg" % name),
         "%s: %s x %d" % (name, format(len(base), ","), dim), running, queries_count)
    for engine in running:
        engine.close()
    shutil.rmtree(os.path.join(folder, "kith"), ignore_errors=True)
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--engines", default="kith,hnswlib,faiss-hnsw,faiss-ivfpq")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--points", type=int, default=0, help="only so many points")
    arguments = parser.parse_args()
    results = [run(name, arguments.engines.split(","), arguments.rounds, arguments.points)
               for name in arguments.sets]
    with open(os.path.join(BENCH, "index.json"), "w") as out:
        json.dump(results, out, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
