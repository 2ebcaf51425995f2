"""faiss as a peer of bench_index.py: a process that is told "build" and "search NPROBE OUT" on
standard input and answers a line each. One thread. Arguments: KIND BASE.f32 QUERIES.f32 DIM
COSINE|EUCLID K. KIND: hnsw, or ivfpq (trained IVF, 4-bit PQ FastScan, refined by the floats)."""
import sys
import time

import faiss
import numpy as np


def make(kind, dim, metric, count):
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, 16, metric)
        index.hnsw.efConstruction = 200
        return index
    lists = int(4 * np.sqrt(count))
    index = faiss.index_factory(dim, "IVF%d,PQ%dx4fs,RFlat" % (lists, dim // 2), metric)
    index.k_factor = 10
    return index


def main():
    kind, base, queries, dim, metric, k = sys.argv[1:]
    faiss.omp_set_num_threads(1)
    dim, k = int(dim), int(k)
    metric = faiss.METRIC_INNER_PRODUCT if metric == "COSINE" else faiss.METRIC_L2
    base = np.fromfile(base, np.float32).reshape(-1, dim)
    queries = np.fromfile(queries, np.float32).reshape(-1, dim)
    index = None
    for line in sys.stdin:
        words = line.split()
        if words[0] == "build":
            begin = time.perf_counter()
            index = make(kind, dim, metric, len(base))
            if not index.is_trained:
                index.train(base)
            index.add(base)
            spent = time.perf_counter() - begin
            print("built %.6f %d" % (spent, len(faiss.serialize_index(index))), flush=True)
        elif words[0] == "search":
            if kind == "hnsw":
                index.hnsw.efSearch = int(words[1])
            else:
                faiss.extract_index_ivf(index.base_index).nprobe = int(words[1])
            ids = np.empty((len(queries), k), np.int32)
            begin = time.thread_time()
            for i in range(len(queries)):
                ids[i] = index.search(queries[i:i + 1], k)[1][0]
            spent = time.thread_time() - begin
            ids.tofile(words[2])
            print("searched %.6f" % spent, flush=True)


if __name__ == "__main__":
    main()
