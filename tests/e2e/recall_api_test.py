"""GET and POST /collections/{c}/recall over HTTP: live sampling, measuring, refusals."""
import os
import random
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server

DIM = 32
POINTS = 12000
SERVER = None


def rows(count, seed, clusters=1):
    source = random.Random(clusters)
    centres = [[source.gauss(0, 1) for _ in range(DIM)] for _ in range(50)]
    source = random.Random(seed)
    return [[x + source.gauss(0, .5) for x in centres[i % 50]] for i in range(count)]


def setUpModule():
    global SERVER
    SERVER = Server(config={"planner.measure_percent": "50"}).start()
    SERVER.result("PUT", "/collections/c", {
        "vectors": {"a": {"size": DIM, "distance": "Euclid"}, "many": {"size": 2, "distance": "Dot",
                    "multivector_config": {"comparator": "max_sim"}}}, "sparse_vectors": {"words": {}}})
    data = rows(POINTS, 1)
    for i in range(0, POINTS, 1000):
        SERVER.result("PUT", "/collections/c/points?wait=true", {"points": [
            {"id": j, "vector": {"a": data[j], "many": [[j, 1], [1, j]], "words": {"indices": [j % 7], "values": [1]}},
             "payload": {"n": j % 10}} for j in range(i, i + 1000)]})


def tearDownModule():
    SERVER.close()


def got():
    return SERVER.result("GET", "/collections/c/recall")


class Measured(unittest.TestCase):
    def measure(self, searches, recall=None):
        path = "/collections/c/recall" + ("" if recall is None else "?recall=%g" % recall)
        return SERVER.result("POST", path, {"searches": searches})

    def test_now(self):
        searches = [{"query": q, "using": "a", "limit": 10} for q in rows(40, 2)]
        for recall in (.8, .99, 1):
            answer = self.measure(searches, recall)
            self.assertAlmostEqual(answer["asked"], recall, 5)
            self.assertEqual(answer["queries"], 40)
            self.assertEqual([s["of"] for s in answer["searches"]], [10] * 40)
            mean = sum(s["found"] for s in answer["searches"]) / 400
            self.assertAlmostEqual(answer["recall"], mean, 5)
            self.assertLessEqual(answer["low"], mean)
            self.assertGreaterEqual(answer["high"], mean)
            self.assertGreaterEqual(mean, recall - (.1 if recall < 1 else 0))  # forty queries
            self.assertEqual(answer["lowest"], min(s["found"] for s in answer["searches"]) / 10)
        self.assertAlmostEqual(self.measure(searches[:1])["asked"], .99, 5)

    def test_from_elsewhere(self):
        """Queries of other clusters than the points'."""
        end = time.monotonic() + 60
        while got()["vectors"]["a"]["learnt_from"] is None and time.monotonic() < end:
            time.sleep(.05)
        searches = [{"query": q, "using": "a", "limit": 10} for seed in range(9) for q in rows(10, seed, 100 + seed)]
        for recall in (.8, .9, .99):
            self.assertGreaterEqual(self.measure(searches, recall)["recall"], recall - (1 - recall) / 4)  # ninety queries

    def test_every_kind_that_scores(self):
        where = {"must": [{"key": "n", "match": {"value": 3}}]}
        query = rows(1, 3)[0]
        answer = self.measure([
            {"query": query, "using": "a", "limit": 5, "filter": where},
            {"query": [[1, 2]], "using": "many", "limit": 5},
            {"query": {"indices": [3], "values": [1]}, "using": "words", "limit": 5},
            {"query": {"recommend": {"positive": [1, 2]}}, "using": "a", "limit": 5},
            {"prefetch": [{"query": query, "using": "a", "limit": 20}], "query": {"fusion": "rrf"}, "limit": 5},
        ], .9)
        self.assertEqual([s["of"] for s in answer["searches"]], [5] * 5)
        self.assertGreaterEqual(answer["recall"], .7)
        self.assertEqual(answer["searches"][2]["found"], 5)
        self.assertEqual(self.measure([])["queries"], 0)

    def test_refusals(self):
        for query in ({"sample": "random"}, {"order_by": "n"}, {"nearest": rows(1, 3)[0], "mmr": {"diversity": .5}}):
            body = {"searches": [{"query": rows(1, 3)[0], "using": "a"}, {"query": query, "using": "a"}]}
            status, answer = SERVER.request("POST", "/collections/c/recall", body)[:2]
            self.assertIn(status, (400, 422), answer)
            self.assertIn("searches[1]", str(answer))
        for path, status in (("/collections/none/recall", 404), ("/collections/c/recall?minutes=0", 422),
                             ("/collections/c/recall?minutes=x", 400), ("/collections/c/recall?minutes=", 400), ("/collections/c/recall?minutes=1441", 422)):
            self.assertEqual(SERVER.request("GET", path)[0], status, path)
        for body, path, status in (({}, "", 400), ({"searches": 1}, "", 400), ({"searches": []}, "?recall=2", 422),
                                   ({"searches": []}, "?recall=x", 400)):
            self.assertEqual(SERVER.request("POST", "/collections/c/recall" + path, body)[0], status, body)

    def test_sampled(self):
        before = got()["vectors"]["a"]["queries"]
        connection = SERVER.connection()
        for recall in (.8, .95):
            for i in range(0, 400, 100):
                searches = [{"query": q, "using": "a", "limit": 10} for q in rows(100, 10 + i)]
                SERVER.result("POST", "/collections/c/points/query/batch?recall=%g" % recall, {"searches": searches}, connection)
        end = time.monotonic() + 60
        while True:
            answer = got()
            vector = answer["vectors"]["a"]
            if vector["waiting"] == 0 and len(vector["got"]) >= 2 or time.monotonic() > end:
                break
            time.sleep(.05)
        self.assertEqual(answer["minutes"], 15)
        self.assertEqual(answer["vectors"]["many"], {"sampled": False})
        self.assertEqual(answer["vectors"]["words"], {"sampled": False})
        self.assertEqual(vector["waiting"], 0)
        self.assertGreaterEqual(vector["queries"], before + 800)
        self.assertGreater(vector["learnt_from"]["points"], 0)
        rows_of = {round(row["asked"], 4): row for row in vector["got"]}
        for recall in (.8, .95):
            row = rows_of[recall]
            self.assertGreaterEqual(row["queries"], 45)
            self.assertGreaterEqual(row["recall"], recall - .06)  # fifty of them
            self.assertTrue(row["low"] <= row["recall"] <= row["high"])


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
