"""Limits: those of the server (strict.*) and those of a collection's strict_mode_config."""
import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server

SERVER = None
POINTS = "/collections/s/points"


def setUpModule():
    global SERVER
    SERVER = Server(config={"strict.filter_max_conditions": 20, "strict.filter_max_depth": 3,
                            "strict.condition_max_size": 50, "strict.payload_bytes_max": 2000}).start()


def tearDownModule():
    SERVER.close()


def match(key, value):
    return {"must": [{"key": key, "match": {"value": value}}]}


class Case(unittest.TestCase):
    def setUp(self):
        SERVER.result("DELETE", "/collections/s")
        SERVER.result("PUT", "/collections/s", {"vectors": {"size": 2, "distance": "Dot"}})
        self.put(range(1, 6))

    def strict(self, **limits):
        SERVER.result("PATCH", "/collections/s", {"strict_mode_config": dict({"enabled": True}, **limits)})

    def points(self, ids):
        return {"points": [{"id": i, "vector": [i, 1], "payload": {"n": i}} for i in ids]}

    def put(self, ids):
        SERVER.result("PUT", POINTS + "?wait=true", self.points(ids))

    def refused(self, text, method, path, body, expected=400):
        status, reply = SERVER.request(method, path, body)
        self.assertEqual(status, expected, reply)
        self.assertIn(text, reply["status"]["error"])

    def query(self, **body):
        return SERVER.result("POST", POINTS + "/query", dict({"query": [1, 1]}, **body))["points"]


class Collection(Case):
    def test_off_until_enabled(self):
        SERVER.result("PATCH", "/collections/s", {"strict_mode_config": {"max_query_limit": 2}})
        self.assertEqual(len(self.query(limit=5)), 5)
        self.strict()
        self.refused("Bad request: Limit exceeded 5 > 2 for \"limit\"", "POST", POINTS + "/query",
                     {"query": [1, 1], "limit": 5})
        SERVER.result("PATCH", "/collections/s", {"strict_mode_config": {"enabled": False}})
        self.assertEqual(len(self.query(limit=5)), 5)

    def test_query_limit(self):
        self.strict(max_query_limit=2)
        self.assertEqual(len(self.query(limit=2)), 2)
        self.refused("max_query_limit", "POST", POINTS + "/scroll", {"limit": 3})
        self.refused("max_query_limit", "POST", POINTS + "/query", {"query": [1, 1]})  # the default is 10
        self.refused("max_query_limit", "POST", POINTS + "/query/batch", {"searches": [{"query": [1, 1]}]})

    def test_batch_sizes(self):
        self.strict(upsert_max_batchsize=2, search_max_batchsize=1)
        self.put([1, 2])
        self.refused("upsert_max_batchsize (2)", "PUT", POINTS, self.points([1, 2, 3]))
        columns = {"batch": {"ids": [1, 2, 3], "vectors": [[1, 1]] * 3}}
        self.refused("upsert_max_batchsize (2)", "PUT", POINTS, columns)
        self.refused("search_max_batchsize (1)", "POST", POINTS + "/query/batch",
                     {"searches": [{"query": [1, 1]}] * 2})

    def test_filters(self):
        self.strict(filter_max_conditions=2, condition_max_size=3)
        self.query(filter={"must": match("n", 1)["must"] * 2})
        self.refused("filter", "POST", POINTS + "/count", {"filter": {"must": match("n", 1)["must"] * 3}})
        self.query(filter={"must": [{"key": "n", "match": {"any": [1, 2, 3]}}]})
        self.refused("filter", "POST", POINTS + "/delete",
                     {"filter": {"must": [{"key": "n", "match": {"any": [1, 2, 3, 4]}}]}})

    def test_search_parameters(self):
        self.strict(search_max_hnsw_ef=100, search_allow_exact=False, search_max_oversampling=1.5)
        self.query(params={"hnsw_ef": 100, "exact": False, "quantization": {"oversampling": 1.5}})
        for params, text in [({"hnsw_ef": 101}, "Limit exceeded 101 > 100 for \"hnsw_ef\""),
                             ({"exact": True}, "Exact search is not allowed"),
                             ({"quantization": {"oversampling": 1.6}}, "for \"oversampling\"")]:
            self.refused(text, "POST", POINTS + "/query", {"query": [1, 1], "params": params})

    def test_points_count(self):
        self.strict(max_points_count=6)
        self.put([1, 2, 3])  # they are there already
        self.refused("Max points count limit of 6 reached!", "PUT", POINTS, self.points([6, 7]))
        self.put([6])
        self.refused("Max points count limit of 6 reached!", "PUT", POINTS, self.points([7]))
        self.refused("Max points count limit of 6", "POST", POINTS + "/batch",
                     {"operations": [{"upsert": self.points([7])}]})
        status, reply = SERVER.request("POST", "/collections/s/bulk", b'{"id": 8, "vector": [1, 2]}\n',
                                       {"Content-Type": "application/x-ndjson"})
        self.assertEqual(status, 400, reply)
        self.assertIn("Max points count limit of 6", reply["status"]["error"])

    def test_vector_bytes(self):
        self.strict(max_collection_vector_size_bytes=48)
        self.put([6])
        self.refused("Max vector storage size limit of 48 bytes reached!", "PUT", POINTS, self.points([7]))

    def test_unindexed_filters(self):
        self.strict(unindexed_filtering_retrieve=False)
        text = "Index required but not found for \"n\" of one of the following types: [integer]"
        self.refused(text, "POST", POINTS + "/query", {"query": [1, 1], "filter": match("n", 1)})
        self.refused("for \"n\" of one of the following types: [keyword, uuid]", "POST", POINTS + "/scroll",
                     {"filter": {"should": [{"must_not": match("n", "x")["must"]}]}})
        self.refused("for \"a.b\"", "POST", POINTS + "/count",
                     {"filter": {"must": [{"nested": {"key": "a", "filter": match("b", 1)}}]}})
        self.assertEqual(len(self.query(filter={"must": [{"has_id": [1]}]})), 1)
        SERVER.result("POST", POINTS + "/delete?wait=true", {"filter": match("n", 5)})  # updates may
        SERVER.result("PUT", "/collections/s/index?wait=true", {"field_name": "n", "field_schema": "integer"})
        self.assertEqual([p["id"] for p in self.query(filter=match("n", 1))], [1])
        self.refused("for \"n\" of one of the following types: [bool]", "POST", POINTS + "/count",
                     {"filter": match("n", True)})
        self.strict(unindexed_filtering_update=False)
        self.refused("Index required but not found for \"m\"", "POST", POINTS + "/payload/clear",
                     {"filter": match("m", 1)})
        SERVER.result("POST", POINTS + "/payload/clear", {"filter": match("n", 1)})

    def test_index_count(self):
        self.strict(max_payload_index_count=1)
        index = {"field_name": "n", "field_schema": "integer"}
        SERVER.result("PUT", "/collections/s/index?wait=true", index)
        SERVER.result("PUT", "/collections/s/index?wait=true", index)
        self.refused("Collection already has the maximum number of payload indices (1)", "PUT",
                     "/collections/s/index", {"field_name": "m", "field_schema": "integer"})
        self.strict(max_payload_index_count=0)
        self.refused("payload indices (0)", "PUT", "/collections/s/index",
                     {"field_name": "m", "field_schema": "integer"})

    def test_rates(self):
        self.strict(read_rate_limit=5, write_rate_limit=3)
        reads = [SERVER.request("POST", POINTS + "/count", {})[0] for _ in range(7)]
        self.assertEqual(reads, [200] * 5 + [429] * 2)
        writes = [SERVER.request("PUT", POINTS, self.points([1]))[0] for _ in range(5)]
        self.assertEqual(writes, [200] * 3 + [429] * 2)
        connection = SERVER.connection()
        connection.request("GET", "/collections/s/points/1")
        reply = connection.getresponse()
        text = reply.read().decode()
        self.assertEqual((reply.status, reply.headers["Retry-After"]), (429, "1"))
        self.assertIn("Rate limiting exceeded: Read rate limit of 5 a minute exceeded", text)
        connection.close()
        SERVER.result("GET", "/collections/s")  # not about points
        SERVER.result("PATCH", "/collections/s", {"strict_mode_config": {"enabled": False}})
        self.assertEqual(len(self.query()), 5)

    def test_rate_with_many_at_once(self):
        self.strict(read_rate_limit=40)
        statuses = []

        def ask():
            for _ in range(20):
                statuses.append(SERVER.request("POST", POINTS + "/count", {})[0])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertGreaterEqual(statuses.count(200), 40)
        self.assertLess(statuses.count(200), 60)  # a few more for the time it took
        self.assertEqual(statuses.count(200) + statuses.count(429), 80)

    def test_timeout(self):
        self.strict(max_timeout=1)
        self.assertEqual(len(self.query(limit=2)), 2)
        status, reply = SERVER.request("POST", POINTS + "/query?timeout=50", {"query": [1, 1]})
        self.assertEqual(status, 200, reply)

    def test_created_with(self):
        SERVER.result("PUT", "/collections/made", {"strict_mode_config": {"enabled": True, "max_query_limit": 1}})
        self.refused("Limit exceeded 10 > 1", "POST", "/collections/made/points/scroll", {})
        config = SERVER.result("GET", "/collections/made")["config"]
        self.assertEqual(config["strict_mode_config"], {"enabled": True, "max_query_limit": 1})
        SERVER.stop()
        SERVER.start()
        self.refused("Limit exceeded 10 > 1", "POST", "/collections/made/points/scroll", {})
        SERVER.result("DELETE", "/collections/made")


class Everywhere(Case):
    def test_filters(self):
        self.refused("filter", "POST", POINTS + "/count", {"filter": {"must": match("n", 1)["must"] * 21}})
        self.refused("filter", "POST", POINTS + "/count",
                     {"filter": {"must": [{"key": "n", "match": {"any": list(range(51))}}]}})
        deep = match("n", 1)
        for _ in range(3):
            deep = {"must": [deep]}
        self.refused("filter", "POST", POINTS + "/count", {"filter": deep})
        # a collection cannot widen them
        self.strict(filter_max_conditions=1000, condition_max_size=1000)
        self.refused("filter", "POST", POINTS + "/count", {"filter": {"must": match("n", 1)["must"] * 21}})

    def test_payload(self):
        large = {"points": [{"id": 1, "vector": [1, 1], "payload": {"x": "y" * 2000}}]}
        self.refused("strict.payload_bytes_max", "PUT", POINTS, large)
        self.refused("strict.payload_bytes_max", "POST", POINTS + "/payload",
                     {"points": [1], "payload": {"x": "y" * 2000}})

    def test_large_numbers_allocate_nothing(self):
        many = 999999999
        self.assertEqual(len(self.query(limit=many)), 5)
        self.assertEqual(self.query(limit=many, offset=many), [])
        page = SERVER.result("POST", POINTS + "/scroll", {"limit": many})
        self.assertEqual(len(page["points"]), 5)


class Server_limits(unittest.TestCase):
    def test_configured(self):
        config = {"strict.max_points_count": 3, "strict.read_rate_limit": 4, "strict.write_rate_limit": 4}
        with Server(config=config) as server:
            server.result("PUT", "/collections/s", {"vectors": {"size": 2, "distance": "Dot"}})
            points = {"points": [{"id": i, "vector": [1, i]} for i in range(4)]}
            status, reply = server.request("PUT", POINTS, points)
            self.assertEqual((status, "Max points count limit of 3" in reply["status"]["error"]), (400, True))
            self.assertEqual([server.request("POST", POINTS + "/count", {})[0] for _ in range(6)],
                             [200] * 4 + [429] * 2)


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
