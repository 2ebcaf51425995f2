"""Error texts by table: a request, its status, what its text says. tests/error_texts.py tells which texts
no test reaches (make error-texts)."""
import concurrent.futures
import gzip
import json
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server

SERVER = None
E = "/collections/e"  # vectors d (dense), m (multi), s (sparse)
P = E + "/points"
ONE = "/collections/one"  # the unnamed vector


def setUpModule():
    global SERVER
    SERVER = Server(config={"http.body_bytes_max": 4 << 20, "strict.upsert_max_batchsize": 5000, "service.control_body_bytes_max": 200000,
                            "strict.condition_max_size": 3, "writer.queue_bytes_max": 1 << 20,
                            "writer.group_bytes_max": 1 << 19}).start()
    SERVER.result("PUT", E, {"vectors": {"d": {"size": 2, "distance": "Dot"}, "m": {"size": 2, "distance": "Dot", "multivector_config": {
        "comparator": "max_sim"}}}, "sparse_vectors": {"s": {}}})
    SERVER.result("PUT", ONE, {"vectors": {"size": 2, "distance": "Dot"}})
    SERVER.result("PUT", "/collections/payload", {})
    SERVER.result("POST", "/collections/aliases", {"actions": [{"create_alias": {"collection_name": "one", "alias_name": "alias"}}]})


def tearDownModule():
    SERVER.close()


def npy(rows, columns):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" % (rows, columns)
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + bytes(4 * rows * columns)


def deep(inner, levels, wrap):
    for _ in range(levels):
        inner = wrap(inner)
    return inner


# the text, then what a filter's condition, a formula or a query has wrong
CONDITIONS = [
    ("expected a date-time, like the other bounds", {"key": "a", "range": {"lt": "2020-01-01T00:00:00Z", "gt": 5}}),
    ("expected an object", {"key": "a", "range": 5}), ("expected an object", {"key": "a", "match": 5}),
    ("expected an object", {"key": "a", "values_count": 5}), ("expected an object", {"key": "a", "geo_bounding_box": 5}),
    ("expected an object", {"key": "a", "geo_radius": 5}), ("expected an object", {"key": "a", "geo_polygon": 5}),
    ("expected an object with a list `points`", {"key": "a", "geo_polygon": {"exterior": {"points": 5}}}),
    ("expected an object with a list `points`", {"key": "a", "geo_polygon": {"exterior": 5}}),
    ("expected an object with `key` and `filter`", {"nested": 5}), ("expected an object with `total` and `index`", {"slice": 5}),
]
FORMULAS = [
    ("expected a path as a string", {"datetime_key": 5}), ("expected an array of expressions", {"sum": 5}),
    ("`max` and `min` need at least one operand", {"max": []}), ("`max` and `min` need at least one operand", {"min": []}),
    ("`div` needs `left` and `right`", {"div": {"left": 1}}), ("`pow` needs `base` and `exponent`", {"pow": {"base": 1}}),
    ("`by_zero_default` must be a number", {"div": {"left": 1, "right": 2, "by_zero_default": "x"}}),
    ("query.formula: `scale` must be a number", {"exp_decay": {"x": 1, "scale": "x"}}), ("a decay needs `x`", {"lin_decay": {"scale": 1}}),
    ("`geo_distance.origin` needs `lon` and `lat`", {"geo_distance": {"origin": {"lon": 1}, "to": "a"}}),
    ("`geo_distance.origin` is no place on earth", {"geo_distance": {"origin": {"lon": 181, "lat": 0}, "to": "a"}}),
    ("`datetime` is not a date-time", {"datetime": "yesterday"}),
    ("a formula is nested deeper than 64 expressions", deep(1, 70, lambda e: {"neg": e})),
    ("too many expressions", {"sum": [1] * 5000}), ("a formula has more than", {"sum": [{"sum": [1] * 2000}] * 3}),
]
QUERIES = [
    ("query.recommend: expected an object", {"recommend": 5}), ("strategy: expected a string", {"recommend": {"positive": [1], "strategy": 5}}),
    ("expected a pair of examples or an array of pairs", {"context": 5}),
    ("query.rrf.weights: expected an array of numbers", {"rrf": {"weights": 5}}), ("query.defaults: expected an object", {"formula": 1, "defaults": 5}),
    ("order_by.key: expected a path as a string", {"order_by": {"key": 5}}),
    ("order_by.direction: expected `asc` or `desc`", {"order_by": {"key": "a", "direction": 5}}),
    ("order_by.start_from: expected a number or a date-time", {"order_by": {"key": "a", "start_from": []}}),
    ("order_by: expected a path or an object with `key`", {"order_by": 5}),
    ("a query has more than 1024 examples", {"recommend": {"positive": [1] * 1025}}),
    ("vector: expected an array of arrays of numbers", [[1, 2], 3]),
    ("all vectors of a multivector must have the same dimension", [[1, 2], [3]]),
    ("indices: expected an array of integers", {"indices": 5, "values": [1]}), ("indices: 4294967296 does not fit 32 bits",
                                                                                {"indices": [1 << 32], "values": [1]}),
    ("values: expected an array of numbers", {"indices": [1], "values": 5}), ("expected a vector, an id or {indices, values}", {"indices": [1]}),
]
SPARSE = [
    ("indices: expected an array of integers", {"indices": 5, "values": [1]}), ("values: expected an array of numbers", {"indices": [1], "values": 5}),
    ("Conversion between sparse and regular vectors failed", [[1]]), ("vector.?.values: Validation error: must be the same length as indices [{}]",
                                                            {"indices": [1, 2], "values": [1]}),
    ("must be unique [{}]", {"indices": [1, 1], "values": [1, 2]}),
]


class Table(unittest.TestCase):
    def refused(self, text, method, path, body, expected=(400, 422), headers=None):
        with self.subTest(text=text, path=path):
            status, reply = SERVER.request(method, path, body, headers)
            self.assertIn(status, expected if isinstance(expected, tuple) else (expected,), reply)
            self.assertIn(text, reply["status"]["error"])

    def rows(self, rows):
        for text, method, path, body, *expected in rows:
            self.refused(text, method, path, body, *expected)

    def test_conditions(self):
        for text, condition in CONDITIONS:
            self.refused(text, "POST", P + "/count", {"filter": {"must": [condition]}}, 400)
        self.refused("4 values exceed strict.condition_max_size (3)", "POST", P + "/count", {"filter": {"must": [{"has_id": [1, 2, 3, 4]}]}}, 400)

    def test_formulas(self):
        for text, formula in FORMULAS:
            self.refused(text, "POST", P + "/query", {"prefetch": {"query": [1, 2], "using": "d"}, "query": {"formula": formula}}, 400)

    def test_queries(self):
        for text, query in QUERIES:
            self.refused(text, "POST", P + "/query", {"query": query}, 400)
        query = {"query": [1, 2], "using": "d"}
        self.rows([
            ("using: expected a string", "POST", P + "/query", {"query": [1, 2], "using": 5}),
            ("a query has more than 1024 prefetches", "POST", P + "/query", {"prefetch": [{"query": [1, 2], "using": "d"}] * 1025, "query": {"fusion": "rrf"}}),
            ("with_payload has more than 1024 paths", "POST", P + "/query", dict(query, with_payload=["a"] * 1025)),
            ("with_payload: expected a list of paths", "POST", P + "/query", dict(query, with_payload={"include": 5})),
            ("with_vector: expected a vector name as a string", "POST", P + "/query", dict(query, with_vector=[5])),
            ("group_by: expected a path as a string", "POST", P + "/query/groups", dict(query, group_by=5)),
            ("with_lookup.collection: expected a string", "POST", P + "/query/groups", dict(query, group_by="a", with_lookup={"collection": 5})),
            ("with_lookup: expected a collection or an object", "POST", P + "/query/groups", dict(query, group_by="a", with_lookup=5)),
            ("key: expected a path as a string", "POST", E + "/facet", {"key": 5}),
            ("missing field `key`", "POST", E + "/facet", {}),
        ])

    def test_lookups_in_many_collections(self):
        names = ["l%d" % i for i in range(20)]
        for name in names:
            SERVER.result("PUT", "/collections/" + name, {"vectors": {"size": 2, "distance": "Dot"}})
            SERVER.result("PUT", "/collections/%s/points" % name, {"points": [{"id": 1, "vector": [1, 2]}]})
        prefetch = [{"query": 1, "using": "d", "lookup_from": {"collection": name, "vector": ""}} for name in names]
        self.refused("lookups in more than 16 collections", "POST", P + "/query", {"prefetch": prefetch, "query": {"fusion": "rrf"}}, 400)

    def test_points(self):
        for text, vector in SPARSE:
            self.refused(text, "PUT", P, {"points": [{"id": 1, "vector": {"s": vector}}]})
        self.rows([
            ("vector: expected an array of numbers", "PUT", ONE + "/points", {"points": [{"id": 1, "vector": {"": 5}}]}),
            ("batch.ids: expected an array of ids", "PUT", P, {"batch": {"ids": 5, "vectors": []}}),
            ("batch.vectors: expected an array of vectors", "PUT", P, {"batch": {"ids": [1], "vectors": {"d": 5}}}),
            ("batch.payloads: expected an array of objects or nulls", "PUT", P, {"batch": {"ids": [1], "vectors": {"d": [[1, 2]]}, "payloads": 5}}),
            ("duplicate field `d`", "PUT", P, b'{"batch": {"ids": [1], "vectors": {"d": [[1, 2]], "d": [[1, 2]]}}}'),
            ("points: expected an array of points", "PUT", P + "/vectors", {"points": 5}),
            ("strict.upsert_max_batchsize (5000)", "PUT", P + "/vectors", {"points": [{"id": 1, "vector": {"d": [1, 2]}}] * 5001}),
            ("missing field `points`", "PUT", P + "/vectors", {}),
            ("Empty update request", "PUT", P + "/vectors", {"points": []}),
            ("keys: expected an array of paths", "POST", P + "/payload/delete", {"keys": 5, "points": [1]}),
            ("vector: expected an array of vector names", "POST", P + "/vectors/delete", {"vector": 5, "points": [1]}),
            ("vector: expected a vector name as a string", "POST", P + "/vectors/delete", {"vector": [5], "points": [1]}),
            ("nested deeper than 128 levels", "PUT", P, {"points": [{"id": 1, "vector": {}, "payload": deep(1, 126, lambda v: {"a": v})}]}),
            ("expected a value", "PUT", P, b'{"points": [{"id": 1, "vector": {}, "payload": {"a": ]}}]}'),
        ])
        rows = [[1, 2]] * ((1 << 19) + 1)
        self.refused("a multivector has at most 1048576 floats", "PUT", P,
                     ('{"points": [{"id": 1, "vector": {"m": %s}}]}' % json.dumps(rows, separators=(",", ":"))).encode(), 400)

    def test_sparse_vectors_have_a_limit(self):
        body = '{"points": [{"id": 1, "vector": {"s": {"indices": [%s1], "values": []}}}]}' % ("1," * (1 << 20))
        self.refused("more than 1048576 indices", "PUT", P, body.encode(), 400)

    def test_a_filter_that_finds_too_much(self):
        SERVER.result("POST", "/collections/many/bulk?distance=Dot", npy(70000, 2), headers={"Content-Type": "application/x-npy"})
        self.refused("filter: finds more points than fit into writer.queue_bytes_max", "POST", "/collections/many/points/payload",
                     {"payload": {"a": 1}, "filter": {}}, 400)

    def test_collections(self):
        many = {"v%d" % i: {"size": 2, "distance": "Dot"} for i in range(1000)}
        self.rows([
            ("a collection has at most", "PUT", "/collections/new", {"vectors": many}),
            ("codes are made once, and those of vector \"d\" have bits4, not bits1", "PATCH", E, {"quantization_config": {"turbo": {"bits": "bits1"}}}),
            ("codes are made once, and their scale cannot be changed", "PATCH", E, {"quantization_config": {"turboquant_mse": {"bits": "bits4"}}}),
            ("field_name: expected a path as a string", "PUT", E + "/index", {"field_name": 5, "field_schema": "integer"}),
            ("missing field `field_name`", "PUT", E + "/index", {"field_schema": "integer"}),
            ("field_schema is missing: name the kind of index", "PUT", E + "/index", {"field_name": "a"}),
            ("stopwords.custom: expected a list of words", "PUT", E + "/index", {
                "field_name": "a", "field_schema": {"type": "text", "stopwords": {"custom": 5}}}),
            ("metadata.kith: expected a map", "PUT", "/collections/new", {"metadata": {"kith": 5}}),
            ("metadata.kith: unknown field `x`, expected `expire_field`", "PUT", "/collections/new", {"metadata": {"kith": {"x": 1}}}),
            ("metadata.kith.string_ids: expected a boolean", "PUT", "/collections/new", {"metadata": {"kith": {"string_ids": 5}}}),
            ("metadata.kith.string_ids: cannot be changed after creation", "PATCH", E, {"metadata": {"kith": {"string_ids": True}}}),
            ("searches[0]: a recall is that of the best by score", "POST", E + "/recall", {"searches": [{"query": {"sample": "random"}}]}),
            ("metadata.kith.expire_field: expected a path as a string", "PUT", "/collections/new", {"metadata": {"kith": {"expire_field": 5}}}),
            ("metadata.kith.expire_field: longer than 1024 bytes", "PUT", "/collections/new", {"metadata": {"kith": {"expire_field": "a" * 1025}}}),
            ("metadata.kith.expire_field: `a[` is not a valid path", "PATCH", E, {"metadata": {"kith": {"expire_field": "a["}}}),
            ("service.control_body_bytes_max (200000 bytes)", "PUT", "/collections/new", {"metadata": {"a": "x" * 200000}}, 413),
        ])
        packed = gzip.compress(json.dumps({"metadata": {"a": "x" * 200000}}).encode())
        self.refused("service.control_body_bytes_max (200000 bytes)", "PUT", "/collections/new", packed, 413, {"Content-Encoding": "gzip"})

    def test_bulk(self):
        lines, matrix = {"Content-Type": "application/x-ndjson"}, {"Content-Type": "application/x-npy"}
        self.refused("line 1: expected a point object", "POST", "/collections/made/bulk?distance=Dot", b"5\n", 400, lines)
        self.refused("Not existing vector name error", "POST", "/collections/payload/bulk", npy(1, 2), 400, matrix)
        self.refused("`alias` is an alias: give ?first_id=, or the collection's own name", "POST", "/collections/alias/bulk", npy(1, 2), 400, matrix)

    def test_packed_bodies(self):
        bomb = gzip.compress(b'{"ids": [' + b" " * (30 << 20) + b"1]}")
        self.refused("the unpacked body is larger than http.body_bytes_max", "POST", P, bomb, 413, {"Content-Encoding": "gzip"})
        self.refused("the body is not a whole gzip stream", "POST", P, bomb[:500], 400, {"Content-Encoding": "gzip"})


class Limits(unittest.TestCase):
    """Servers of their own: what is full, and what takes too long."""

    def error(self, reply):
        return reply["status"]["error"]

    def test_timeouts_stop_the_work_and_a_full_queue_says_so(self):
        with Server(config={"service.workers": 1, "service.work_queue_max": 1}) as server:
            for _ in range(100):  # the one place in the queue may be taken for a moment by the server's own work
                status, reply = server.request("POST", "/collections/c/bulk?distance=Dot", npy(20000, 2),
                                               {"Content-Type": "application/x-npy"})
                if status != 503:
                    break
            self.assertEqual(status, 200, reply)
            heavy = {"prefetch": {"query": [1, 2], "limit": 20000}, "query": {"formula": {"sum": [{"sum": ["$score"] * 1000}] * 4}}, "limit": 1}
            ask = lambda: server.request("POST", "/collections/c/points/query/batch?timeout=1", {"searches": [heavy] * 40})  # noqa: E731
            status, reply = ask()  # minutes of work
            self.assertEqual((status, self.error(reply)), (408, "Timeout: Operation 'Query' timed out after 1 seconds"))
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                replies = list(pool.map(lambda _: ask(), range(6)))
            self.assertEqual({status for status, _ in replies}, {408, 503})
            self.assertEqual({self.error(reply) for status, reply in replies if status == 503},
                             {"Shard temporarily unavailable: too many requests are waiting"})

    def test_a_full_map(self):
        with Server(config={"storage.map_initial_bytes": "1MiB", "storage.map_max_bytes": "4MiB"}) as server:
            server.result("PUT", "/collections/c", {"vectors": {"size": 64, "distance": "Dot"}})
            kept = 0
            for first in range(0, 20000, 500):
                status, reply = server.request("PUT", "/collections/c/points", {"points": [
                    {"id": first + i, "vector": [1] * 64} for i in range(500)]})
                if status != 200:
                    break
                kept += 500
            self.assertEqual((status, self.error(reply)), (507, "Insufficient storage: no space left, on the disk or in the map"))
            self.assertGreater(kept, 0)
            self.assertEqual(server.result("POST", "/collections/c/points/count", {}), {"count": kept})
            self.assertEqual(len(server.result("POST", "/collections/c/points/query", {"query": [1] * 64})["points"]), 10)


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
