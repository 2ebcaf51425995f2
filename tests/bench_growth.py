"""The cost of a query as a collection grows: queries/s at recall 0.99 and the share of codes scanned.

    make bench-growth                  1,000 to 1,000,000 points of 100 dims
    make bench-growth MOST=300000      fewer

One thread, CPU time, as bench_index.py. The points are GENERATED: a mixture fitted to the word vectors
of ../shared/data (bench_index.py says how); each size is the first so many of them, the 1,000 queries
are the set's real ones. Rates are taken at recall 0.99 between the recalls asked for.

Prints a table, and writes build/bench/growth.json and a plot, build/bench/growth.svg. Goals (issue 4):
from 100,000 points up the cost at most doubles for each tenfold growth; below it is never worse than
linear. It ends with whether they are met."""
import argparse
import json
import math
import os
import shutil
import sys

import numpy as np

import bench_index as index

SIZES = [1000, 3000, 10000, 30000, 100000, 300000, 1000000]
ASKED = [0.9, 0.95, 0.98, 0.99, 0.995, 0.999]
TARGET = 0.99
FLOOR = 100000  # from here on the cost may double per tenfold
SLACK = 1.1     # what the clock of a shared machine may add


def base_of(source, most):
    """The generated points, made once, and the queries."""
    folder = os.path.join(index.BENCH, "growth-%s-%d" % (source, most))
    path = os.path.join(folder, "all.f32")
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        real = index.normalise(index.load(os.path.join(index.DATA, source), "base"))
        made = index.normalise(index.mixture(real, most, np.random.default_rng(1))).astype(np.float32)
        np.random.default_rng(2).shuffle(made)
        queries = index.normalise(index.load(os.path.join(index.DATA, source), "queries"))
        queries.astype(np.float32).tofile(os.path.join(folder, "queries.f32"))
        made.tofile(path)
    queries = np.fromfile(os.path.join(folder, "queries.f32"), np.float32).reshape(1000, -1)
    return folder, np.memmap(path, np.float32, "r").reshape(most, -1), queries


def measure(folder, base, queries, size, rounds):
    dim = base.shape[1]
    part = np.ascontiguousarray(base[:size])
    part.tofile(os.path.join(folder, "base.f32"))
    keys, _ = index.exact_keys(part, queries, "COSINE", index.K)
    kth = keys[:, index.K - 1]
    [engine] = index.engines(["kith"], folder, dim, "COSINE")
    engine.build()
    for turn in range(rounds):
        for asked in ASKED:
            ids = engine.search(asked)
            if turn == 0:
                engine.recall[asked] = index.tie_aware(part, queries, ids, kth, "COSINE")
    # The codes read are interpolated like the rates.
    rate = engine.at(TARGET, len(queries))
    spent = engine.spent
    engine.spent = {a: [engine.work[a][0] * len(queries)] for a in engine.work}
    codes = engine.at(TARGET, 1)
    codes = 1.0 / (codes * len(queries)) if codes else None
    engine.spent = spent
    engine.close()
    shutil.rmtree(os.path.join(folder, "kith"), ignore_errors=True)
    return {"points": size, "rate": rate, "us": 1e6 / rate, "codes": codes, "share": codes / size,
            "recall_asked_099": engine.recall[0.99], "build_seconds": engine.build_seconds}


def verdict(rows):
    """What a tenfold growth multiplies the cost by, between neighbouring sizes; met or not."""
    out = []
    for small, large in zip(rows, rows[1:]):
        growth = math.log10(large["points"] / small["points"])
        cost = large["us"] / small["us"]
        allowed = (2.0 if small["points"] >= FLOOR else 10.0) ** growth
        out.append({"from": small["points"], "to": large["points"], "tenfold": cost ** (1 / growth),
                    "met": cost <= allowed * SLACK})
    return out


def plot(path, rows):
    width, height, left, top, bottom = 860, 460, 74, 44, 56
    half = (width - 3 * left) // 2
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" '
           'font-size="13"><rect width="100%%" height="100%%" fill="white"/>' % (width, height)]
    low_n, high_n = math.log10(rows[0]["points"]), math.log10(rows[-1]["points"])

    def panel(at, title, unit, values, lines):
        shown = [v for v in values] + [v for _, line in lines for _, v in line]
        low, high = math.log10(min(shown)) - 0.08, math.log10(max(shown)) + 0.08
        x_of = lambda n: at + half * (math.log10(n) - low_n) / max(high_n - low_n, 1e-9)
        y_of = lambda v: top + (height - top - bottom) * (high - math.log10(v)) / (high - low)
        out.append('<text x="%d" y="24" font-size="15">%s</text>' % (at, title))
        for exponent in range(int(math.floor(low)), int(high) + 2):
            for m in (1, 2, 5):
                v = m * 10.0 ** exponent
                if low <= math.log10(v) <= high:
                    out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>'
                               '<text x="%d" y="%.1f" text-anchor="end">%g%s</text>' %
                               (at, at + half, y_of(v), y_of(v), at - 6, y_of(v) + 4, v, unit))
        for row in rows:
            n = row["points"]
            label = "%dk" % (n // 1000) if n < 1000000 else "%dM" % (n // 1000000)
            out.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" '
                       'text-anchor="middle">%s</text>' %
                       (x_of(n), x_of(n), top, height - bottom, x_of(n), height - bottom + 18, label))
        for name, line in lines:
            out.append('<polyline fill="none" stroke="#7f8c8d" stroke-dasharray="5 4" points="%s"/>' %
                       " ".join("%.1f,%.1f" % (x_of(n), y_of(v)) for n, v in line))
            n, v = line[-1]
            out.append('<text x="%.1f" y="%.1f" text-anchor="end" fill="#555">%s</text>' %
                       (x_of(n) - 4, y_of(v) - 6, name))
        points = [(x_of(r["points"]), y_of(v)) for r, v in zip(rows, values)]
        out.append('<polyline fill="none" stroke="#c0392b" stroke-width="2" points="%s"/>' %
                   " ".join("%.1f,%.1f" % p for p in points))
        out.extend('<circle cx="%.1f" cy="%.1f" r="3.5" fill="#c0392b"/>' % p for p in points)
        out.append('<text x="%d" y="%d" text-anchor="middle">points</text>' % (at + half // 2, height - 14))

    first = rows[0]
    linear = [(n, first["us"] * n / first["points"]) for n in (first["points"], 10 * first["points"])]
    lines = [("linear", linear)]
    bend = next((r for r in rows if r["points"] == FLOOR), None)
    if bend is not None and rows[-1]["points"] > FLOOR:
        n = rows[-1]["points"]
        lines.append(("twice per tenfold", [(FLOOR, bend["us"]), (n, bend["us"] * 2 ** math.log10(n / FLOOR))]))
    panel(left, "&#181;s of CPU a query at recall@10 0.99", "", [r["us"] for r in rows], lines)
    panel(2 * left + half, "codes scanned, % of all", " %", [100 * r["share"] for r in rows], [])
    out.append("</svg>")
    with open(path, "w") as file:
        file.write("\n".join(out))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=1000000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", default="glove100-120k")
    arguments = parser.parse_args()
    sizes = [n for n in SIZES if n <= arguments.most]
    folder, base, queries = base_of(arguments.source, sizes[-1])
    rows = []
    print("%s, generated; %d queries" % (arguments.source, len(queries)))
    print("   points   q/s at .99   us a query   codes scanned   share   asked .99 gets   build s")
    for size in sizes:
        row = measure(folder, base, queries, size, arguments.rounds)
        rows.append(row)
        print("%9d   %10.0f   %10.1f   %13.0f   %4.1f%%   %14.4f   %7.2f" % (
            row["points"], row["rate"], row["us"], row["codes"], 100 * row["share"],
            row["recall_asked_099"], row["build_seconds"]), flush=True)
        plot(os.path.join(index.BENCH, "growth.svg"), rows)
    steps = verdict(rows)
    for step in steps:
        print("%9d -> %9d: a tenfold growth costs %.2f times%s" % (
            step["from"], step["to"], step["tenfold"], "" if step["met"] else "   MISSED"))
    with open(os.path.join(index.BENCH, "growth.json"), "w") as out:
        json.dump({"rows": rows, "steps": steps}, out, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
