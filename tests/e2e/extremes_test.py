"""Numbers as large as they get, in every place of a request that takes one: answered as the contract says, and
nothing is allocated by the number. openapi_test.py does the same to the fields at the top of every request."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server

SERVER = None
MUCH = 999999999
MOST = 2**64 - 1
POINTS = 50
C = "/collections/x"
P = C + "/points"
RSS = 24 << 20  # more than any one of these calls may cost; a word for each of MUCH would be 8 GB


def setUpModule():
    global SERVER
    SERVER = Server().start()
    SERVER.result("PUT", C, {"vectors": {"": {"size": 4, "distance": "Dot"},
                                         "m": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}},
                             "sparse_vectors": {"s": {}}})
    for field, kind in (("n", "integer"), ("k", "keyword"), ("f", "float")):
        SERVER.result("PUT", C + "/index?wait=true", {"field_name": field, "field_schema": kind})
    SERVER.result("PUT", P + "?wait=true", {"points": [
        {"id": i, "vector": {"": [i, 1, 2, 3], "m": [[i, 1]], "s": {"indices": [i, 4294967295], "values": [1, 2]}},
         "payload": {"n": i, "k": "a%d" % (i % 5), "f": i / 2, "place": {"lon": i, "lat": i}, "list": [i, i + 1]}}
        for i in range(POINTS)]})


def tearDownModule():
    SERVER.close()


def count(filter):
    return ("POST", P + "/count", {"filter": filter}, lambda r: r["count"])


def query(**more):
    return ("POST", P + "/query", dict({"query": [1, 1, 1, 1]}, **more), lambda r: len(r["points"]))


def prefetch(depth, limit):
    inner = {"query": [1, 1, 1, 1], "limit": limit}
    for _ in range(depth):
        inner = {"prefetch": inner, "query": [1, 2, 3, 4], "limit": limit}
    return inner


# What is answered: a method, a path, a body, what to look at in the result, and what it must be.
ANSWERED = [
    (*query(limit=MUCH), POINTS),
    (*query(limit=MOST), POINTS),
    (*query(limit=MUCH, offset=MUCH), 0),
    (*query(limit=MOST, offset=MOST), 0),
    (*query(offset=MOST), 0),
    (*query(limit=MUCH, params={"exact": True}), POINTS),
    (*query(limit=MUCH, params={"hnsw_ef": MUCH}), POINTS),
    (*query(limit=MUCH, params={"quantization": {"oversampling": MUCH}}), POINTS),
    (*query(limit=MUCH, params={"quantization": {"oversampling": 1e308, "rescore": False}}), POINTS),
    (*query(limit=MUCH, score_threshold=-1e30), POINTS),
    (*query(limit=MUCH, query={"recommend": {"positive": [1], "negative": [2], "strategy": "best_score"}}), POINTS - 2),
    (*query(limit=MUCH, query={"context": [{"positive": 1, "negative": 2}]}), POINTS - 2),
    (*query(limit=MUCH, query={"nearest": [1, 1, 1, 1], "mmr": {"diversity": 0.5, "candidates_limit": 16384}}), POINTS),
    (*query(limit=MUCH, query={"sample": "random"}), POINTS),
    (*query(limit=MUCH, query={"order_by": "n"}), POINTS),
    (*query(limit=MUCH, query={"order_by": {"key": "n", "start_from": 1e308}}), 0),
    (*query(limit=MUCH, query={"order_by": {"key": "n", "start_from": -MOST}}), POINTS),
    (*query(limit=MUCH, query={"indices": [4294967295], "values": [1]}, using="s"), POINTS),
    (*query(limit=MUCH, query=[[1, 1]], using="m"), POINTS),
    (*query(limit=MUCH, query={"fusion": "rrf"}, prefetch=[prefetch(0, MUCH), prefetch(0, MOST)]), POINTS),
    (*query(limit=MUCH, query={"rrf": {"k": MUCH}}, prefetch=[prefetch(0, MUCH)]), POINTS),
    (*query(limit=MUCH, prefetch=prefetch(20, MUCH)), POINTS),
    (*query(limit=MUCH, query={"formula": {"mult": [1e300, "n"]}}, prefetch=prefetch(0, MUCH)), 400),
    ("POST", P + "/query", {"prefetch": {"filter": {}, "limit": MUCH}, "query": [1, 1, 1, 1], "limit": MUCH}, lambda r: len(r["points"]), POINTS),
    ("POST", P + "/query/batch", {"searches": [{"query": [1, 1, 1, 1], "limit": MUCH}] * 20}, lambda r: {len(x["points"]) for x in r}, {POINTS}),
    ("POST", P + "/query/groups", {"query": [1, 1, 1, 1], "group_by": "k", "limit": MUCH, "group_size": MUCH},
     lambda r: [len(g["hits"]) for g in r["groups"]], [10] * 5),
    ("POST", P + "/query/groups", {"query": [1, 1, 1, 1], "group_by": "k", "limit": MOST, "group_size": MOST},
     lambda r: [len(g["hits"]) for g in r["groups"]], [10] * 5),
    ("POST", P + "/search", {"vector": [1, 1, 1, 1], "limit": MUCH, "offset": MUCH}, len, 0),
    ("POST", P + "/search", {"vector": [1, 1, 1, 1], "top": MOST}, len, POINTS),
    ("POST", P + "/search/groups", {"vector": [1, 1, 1, 1], "group_by": "k", "limit": MUCH, "group_size": MUCH}, lambda r: len(r["groups"]), 5),
    ("POST", P + "/recommend", {"positive": [1], "limit": MUCH}, len, POINTS - 1),
    ("POST", P + "/discover", {"target": [1, 1, 1, 1], "limit": MUCH}, len, POINTS),
    ("POST", P + "/search/matrix/pairs", {"sample": MUCH, "limit": MUCH}, lambda r: len(r["pairs"]), POINTS * (POINTS - 1)),
    ("POST", P + "/search/matrix/offsets", {"sample": MOST, "limit": MOST}, lambda r: len(r["ids"]), POINTS),
    ("POST", P + "/scroll", {"limit": MUCH}, lambda r: len(r["points"]), POINTS),
    ("POST", P + "/scroll", {"limit": MOST, "offset": MOST}, lambda r: len(r["points"]), 0),
    ("POST", P + "/scroll", {"limit": MOST, "order_by": "f"}, lambda r: len(r["points"]), POINTS),
    ("POST", C + "/facet", {"key": "k", "limit": MUCH}, lambda r: len(r["hits"]), 5),
    ("POST", C + "/facet", {"key": "n", "limit": MOST}, lambda r: len(r["hits"]), POINTS),
    ("POST", P, {"ids": [MOST, MUCH, 0]}, len, 1),
    (*count({"must": {"key": "n", "range": {"lt": MUCH, "gt": -MUCH}}}), POINTS),
    (*count({"must": {"key": "n", "range": {"lt": 1e308, "gt": -1e308}}}), POINTS),
    (*count({"must": {"key": "n", "range": {"gte": MOST}}}), 0),
    (*count({"must": {"key": "list", "values_count": {"lt": MUCH}}}), POINTS),
    (*count({"must": {"key": "list", "values_count": {"gte": MOST}}}), 0),
    (*count({"must": {"key": "place", "geo_radius": {"center": {"lon": 0, "lat": 0}, "radius": 1e300}}}), POINTS),
    (*count({"must": {"key": "list[%d]" % MUCH, "match": {"value": 1}}}), 0),
    (*count({"must": {"key": "n", "match": {"value": -2**63}}}), 0),
    (*count({"min_should": {"conditions": [{"has_id": [1]}], "min_count": MUCH}}), 0),
    (*count({"must": {"slice": {"total": MUCH, "index": MUCH - 1}}}), 0),
    ("POST", P + "/delete?wait=true", {"points": [MOST, MUCH]}, lambda r: r["status"], "completed"),
    ("POST", P + "/payload?wait=true", {"payload": {"big": MOST, "neg": -2**63, "f": 1.7976931348623157e308}, "points": [1]},
     lambda r: r["status"], "completed"),
    ("PUT", "/collections/y", {"vectors": {"size": 65536, "distance": "Dot"}, "shard_number": 4294967295, "replication_factor": 4294967295,
                               "write_consistency_factor": 4294967295, "hnsw_config": {"m": MUCH, "ef_construct": MUCH, "full_scan_threshold": MUCH},
                               "optimizers_config": {"max_segment_size": MUCH, "memmap_threshold": MUCH, "indexing_threshold": MUCH,
                                                     "flush_interval_sec": MUCH, "vacuum_min_vector_number": MUCH},
                               "wal_config": {"wal_capacity_mb": MUCH, "wal_segments_ahead": MUCH},
                               "strict_mode_config": {"enabled": True, "max_query_limit": MUCH, "max_timeout": MUCH, "upsert_max_batchsize": MUCH}},
     bool, True),
    ("POST", P + "/count?timeout=%d" % MUCH, {}, lambda r: r["count"], POINTS),
]

# What is refused: status and a part of the text.
REFUSED = [
    ("POST", P + "/query", {"query": [1, 1, 1, 1], "limit": MOST + 1}, 400, "limit"),
    ("POST", P + "/query", {"query": [1, 1, 1, 1], "limit": -1}, 400, "limit"),
    ("POST", P + "/query", {"query": [1, 1, 1, 1], "limit": 1e9}, 400, "limit"),
    ("POST", P + "/query", {"query": [1, 1, 1, 1], "limit": 0}, 422, "limit: value 0 invalid, must be 1 or larger"),
    ("POST", P + "/query", {"query": [1e39, 1, 1, 1]}, 400, ""),
    ("POST", P + "/query", {"query": [3e38, 3e38, 1, 1]}, 400, "squared norm"),
    ("POST", P + "/query", {"query": MUCH}, 404, "No point with id 999999999 found"),
    ("POST", P + "/query", {"query": {"nearest": [1, 1, 1, 1], "mmr": {"candidates_limit": MUCH}}}, 422, "candidates_limit: value 999999999 invalid"),
    ("POST", P + "/query", {"query": {"nearest": [1, 1, 1, 1], "mmr": {"diversity": MUCH}}}, 422, "diversity"),
    ("POST", P + "/query", {"query": [1, 1, 1, 1], "params": {"hnsw_ef": 0}}, 422, "hnsw_ef: value 0 invalid"),
    ("POST", P + "/query", {"query": [1, 1, 1, 1], "prefetch": prefetch(70, 10)}, 400, ""),
    ("POST", P + "/query", {"query": {"indices": [4294967296], "values": [1]}, "using": "s"}, 400, ""),
    ("POST", P + "/search/matrix/pairs", {"sample": 1}, 422, "sample"),
    ("POST", P + "/scroll", {"limit": 0}, 422, "limit: value 0 invalid"),
    ("POST", P + "/count?timeout=%d" % (MOST + 1), {}, 400, "timeout"),
    ("POST", P + "/count?timeout=-1", {}, 400, "timeout"),
    ("PUT", P, {"points": [{"id": MOST + 1, "vector": {}}]}, 400, "is not a valid point ID"),
    ("PUT", P, {"points": [{"id": -1, "vector": {}}]}, 400, "is not a valid point ID"),
    ("PUT", P, {"points": [{"id": 1, "vector": [1] * 100000}]}, 400, "Vector dimension error: expected dim: 4, got 100000"),
    ("PUT", "/collections/z", {"vectors": {"size": MUCH, "distance": "Dot"}}, 422, "vectors.size: value 999999999 invalid, must be from 1 to 65536"),
    ("PUT", "/collections/z", {"vectors": {"size": 65537, "distance": "Dot"}}, 422, "vectors.size: value 65537 invalid, must be from 1 to 65536"),
    ("POST", P + "/count", {"filter": {"min_should": {"conditions": [], "min_count": 0}}}, 422, "min_count"),
    ("POST", P + "/count", {"filter": {"must": {"slice": {"total": 0, "index": 0}}}}, 422, ""),
    ("POST", P + "/count", {"filter": {"must": {"slice": {"total": 5, "index": MUCH}}}}, 422, ""),
    ("POST", P + "/count", {"filter": {"must": {"key": "n", "values_count": {"gt": -1}}}}, 400, ""),
    ("POST", P + "/count", {"filter": {"must": {"key": "place", "geo_radius": {"center": {"lon": MUCH, "lat": 0}, "radius": 1}}}}, 400, "expected `lat` within"),
]


class Extremes(unittest.TestCase):
    def test_answered(self):
        for method, path, body, look, expected in ANSWERED:
            with self.subTest(path=path, body=str(body)[:200]):
                before = SERVER.memory()[0]
                status, reply = SERVER.request(method, path, body)
                if expected == 400:
                    self.assertEqual(status, 400, reply)
                else:
                    self.assertEqual(status, 200, reply)
                    self.assertEqual(look(reply["result"]), expected)
                self.assertLess(SERVER.memory()[0] - before, RSS)
                SERVER.request("DELETE", "/collections/y")

    def test_refused(self):
        for method, path, body, expected, text in REFUSED:
            with self.subTest(path=path, body=str(body)[:200]):
                before = SERVER.memory()[0]
                status, reply = SERVER.request(method, path, body)
                self.assertEqual(status, expected, reply)
                self.assertIn(text, reply["status"]["error"])
                self.assertLess(SERVER.memory()[0] - before, RSS)


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
