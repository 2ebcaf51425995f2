"""PUT and DELETE /collections/{c}/vectors/{name} on a collection that is in use: every status and text, restarts,
searches and writes meanwhile, and a random run against a model in Python."""
import os
import random
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server, verify

SMALL = {"index.first_generation_codes": 64, "index.generation_codes": 256, "index.partition_start_codes": 128,
         "index.partition_codes": 16, "index.plan_bytes": 16384, "storage.slot_chunk_bits": 6}
DENSE = {"dense": {"size": 40, "distance": "Euclid"}}
COLBERT = {"dense": {"size": 4, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}}
WORDS = {"sparse": {"modifier": "idf"}}


def vector(key, size=40):
    rng = random.Random(key)
    return [round(rng.gauss(0, 1), 3) for _ in range(size)]


def value(kind, key):
    """A random vector of a kind."""
    if kind == "sparse":
        rng = random.Random(key)
        return {"indices": sorted(rng.sample(range(50), 5)), "values": [rng.randrange(1, 9) / 2 for _ in range(5)]}
    return vector(key) if kind == "dense" else [vector(key, 4), vector(key + "b", 4)]


class Case(unittest.TestCase):
    def setUp(self):
        self.server = Server(config=SMALL).start()
        self.addCleanup(self.server.close)

    def ok(self, method, path, body=None):
        return self.server.result(method, path, body)

    def refused(self, status, text, method, path, body=None):
        got, reply = self.server.request(method, path, body)
        self.assertEqual(got, status, reply)
        self.assertIn(text, reply["status"]["error"])

    def params(self):
        return self.ok("GET", "/collections/c")["config"]["params"]

    def verified(self):
        self.assertEqual(self.server.stop(), 0)
        code, text = verify(self.server.data)
        self.assertEqual(code, 0, text)
        self.server.start()


class Names(Case):
    def test_added_and_removed(self):
        self.ok("PUT", "/collections/c", {"vectors": {"size": 40, "distance": "Cosine"}})
        self.ok("PUT", "/collections/c/points?wait=true", {"points": [
            {"id": i, "vector": vector(str(i)), "payload": {"n": i}} for i in range(300)]})
        self.assertEqual(self.ok("PUT", "/collections/c/vectors/two?wait=true", DENSE)["status"], "completed")
        self.assertEqual(self.ok("PUT", "/collections/c/vectors/words", WORDS)["status"], "acknowledged")
        self.ok("PUT", "/collections/c/vectors/rows?wait=true", COLBERT)
        self.assertEqual(sorted(self.params()["vectors"]), ["", "rows", "two"])
        self.assertEqual(self.params()["vectors"]["two"]["size"], 40)
        self.assertEqual(list(self.params()["sparse_vectors"]), ["words"])
        # existing points simply lack them
        query = {"query": vector("x"), "using": "two", "limit": 5}
        self.assertEqual(self.ok("POST", "/collections/c/points/query", query)["points"], [])
        self.assertEqual(self.ok("POST", "/collections/c/points/count",
                                 {"filter": {"must": [{"has_vector": "two"}]}})["count"], 0)
        self.ok("PUT", "/collections/c/points/vectors?wait=true", {"points": [
            {"id": i, "vector": {"two": vector("two%d" % i), "words": value("sparse", str(i)),
                                 "rows": value("multi", str(i))}} for i in range(0, 300, 2)]})
        hits = self.ok("POST", "/collections/c/points/query",
                       {"query": vector("two8"), "using": "two", "limit": 2, "with_vector": ["two"]})["points"]
        self.assertEqual((hits[0]["id"], hits[0]["vector"]["two"]), (8, vector("two8")))
        self.assertEqual(self.ok("POST", "/collections/c/points/count",
                                 {"filter": {"must": [{"has_vector": "two"}]}})["count"], 150)
        self.verified()
        hits = self.ok("POST", "/collections/c/points/query",
                       {"query": value("sparse", "6"), "using": "words", "limit": 1})["points"]
        self.assertEqual(hits[0]["id"], 6)
        for name in ("two", "words", "rows"):
            self.ok("DELETE", "/collections/c/vectors/%s?wait=true" % name)
            self.refused(400, "Not existing vector name error: " + name, "POST", "/collections/c/points/query",
                         {"query": vector("x"), "using": name, "limit": 5})
        self.assertEqual(list(self.params()["vectors"]), [""])
        point = self.ok("POST", "/collections/c/points", {"ids": [8], "with_vector": True})[0]
        self.assertEqual(len(point["vector"]), 40)  # the default vector alone, as before
        hits = self.ok("POST", "/collections/c/points/query", {"query": vector("8"), "limit": 1})["points"]
        self.assertEqual(hits[0]["id"], 8)
        self.verified()
        self.ok("PUT", "/collections/c/vectors/two?wait=true", DENSE)  # the name again: nothing of the old one
        self.assertEqual(self.ok("POST", "/collections/c/points/query", query)["points"], [])
        self.verified()

    def test_refused(self):
        self.ok("PUT", "/collections/c", {"vectors": {"a": {"size": 4, "distance": "Dot"}}})
        path = "/collections/c/vectors/"
        self.refused(404, "doesn't exist", "PUT", "/collections/none/vectors/b", DENSE)
        self.refused(404, "doesn't exist", "DELETE", "/collections/none/vectors/b")
        self.refused(400, "Vector with name `a` already exists", "PUT", path + "a", DENSE)
        self.refused(400, "Not existing vector name error: b", "DELETE", path + "b")
        self.refused(400, "VectorNameConfig", "PUT", path + "b", {})
        self.refused(400, "VectorNameConfig", "PUT", path + "b", {"dense": 3})
        self.refused(400, "VectorNameConfig", "PUT", path + "b", dict(DENSE, **WORDS))
        self.refused(400, "size", "PUT", path + "b", {"dense": {"distance": "Dot"}})
        self.refused(422, "dense.size", "PUT", path + "b", {"dense": {"size": 70000, "distance": "Dot"}})
        self.refused(400, "is longer than 200 bytes", "PUT", path + "b" * 201, DENSE)
        self.assertEqual(list(self.params()["vectors"]), ["a"])

    def test_numbers_end(self):
        self.ok("PUT", "/collections/c", {"vectors": {}})
        for i in range(256):
            self.ok("PUT", "/collections/c/vectors/v", WORDS)
            if i < 255:
                self.ok("DELETE", "/collections/c/vectors/v")
        self.refused(400, "at most 256 vectors in its life", "PUT", "/collections/c/vectors/w", WORDS)
        self.ok("PUT", "/collections/c/points?wait=true",
                {"points": [{"id": 1, "vector": {"v": value("sparse", "1")}}]})
        self.verified()

    def test_while_searches_and_writes_go_on(self):
        self.ok("PUT", "/collections/c", {"vectors": {"a": {"size": 40, "distance": "Euclid"}}})
        self.ok("PUT", "/collections/c/points?wait=true", {"points": [
            {"id": i, "vector": {"a": vector(str(i))}} for i in range(600)]})
        stop, problems = threading.Event(), []

        def run(work):
            try:
                n = 0
                while not stop.is_set():
                    work(n)
                    n += 1
            except AssertionError as error:
                problems.append(error)

        def ask(n):
            hits = self.ok("POST", "/collections/c/points/query",
                           {"query": vector(str(n % 600)), "using": "a", "limit": 1})["points"]
            assert [h["id"] for h in hits] == [n % 600], hits

        def write(n):
            self.ok("PUT", "/collections/c/points?wait=true",
                    {"points": [{"id": 1000 + n % 90, "vector": {"a": [9.0 + n % 7] * 40}}]})

        threads = [threading.Thread(target=run, args=(work,)) for work in (ask, write)]
        for thread in threads:
            thread.start()
        for n in range(12):
            self.ok("PUT", "/collections/c/vectors/b%d?wait=true" % n, [DENSE, WORDS, COLBERT][n % 3])
            kind = ["dense", "sparse", "multi"][n % 3]
            self.ok("PUT", "/collections/c/points/vectors?wait=true", {"points": [
                {"id": i, "vector": {"b%d" % n: value(kind, str(i))}} for i in range(0, 600, 5)]})
            if n % 2:
                self.ok("DELETE", "/collections/c/vectors/b%d?wait=true" % n)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        self.verified()
        ask(5)

    def test_space_comes_back(self):
        self.ok("PUT", "/collections/c", {"vectors": {"a": {"size": 4, "distance": "Dot"},
                                                      "b": {"size": 200, "distance": "Cosine"}}})
        self.ok("PUT", "/collections/c/points?wait=true", {"points": [
            {"id": i, "vector": {"a": [1, 2, 3, i], "b": vector(str(i), 200)}} for i in range(800)]})
        before = self.ok("POST", "/collections/c/compact?wait=true")["bytes_after"]
        self.ok("DELETE", "/collections/c/vectors/b")
        after = self.ok("POST", "/collections/c/compact?wait=true")["bytes_after"]
        self.assertLess(after, before / 2)
        self.assertEqual(self.ok("POST", "/collections/c/points/count", {})["count"], 800)
        self.verified()


class Model(Case):
    KINDS = {"dense": DENSE, "multi": COLBERT, "sparse": WORDS}

    def compare(self, points, names):
        stored = {p["id"]: p for p in self.ok("POST", "/collections/c/points/scroll",
                                              {"limit": 1000, "with_vector": True})["points"]}
        self.assertEqual(sorted(stored), sorted(points))
        for i, vectors in points.items():
            expected = {name: v for name, v in vectors.items() if name in names}
            self.assertEqual(stored[i].get("vector", {}), expected, i)

    def test_random(self):
        rng = random.Random(int(os.environ.get("SEED", "1")))
        self.ok("PUT", "/collections/c", {"vectors": {}})
        names, points, serial = {}, {}, 0
        for step in range(160):
            kind = rng.randrange(10)
            if kind == 0 and len(names) < 5:
                name = "n%d" % rng.randrange(6)
                if name not in names:
                    names[name] = rng.choice(sorted(self.KINDS))
                    self.ok("PUT", "/collections/c/vectors/%s?wait=true" % name, self.KINDS[names[name]])
            elif kind == 1 and names:
                name = rng.choice(sorted(names))
                del names[name]
                for vectors in points.values():
                    vectors.pop(name, None)
                self.ok("DELETE", "/collections/c/vectors/%s?wait=true" % name)
            elif kind == 2:
                ids = rng.sample(range(150), 20)
                self.ok("POST", "/collections/c/points/delete?wait=true", {"points": ids})
                for i in ids:
                    points.pop(i, None)
            elif kind == 3:
                self.ok("POST", "/collections/c/compact?wait=true")
            elif kind == 4 and rng.random() < 0.5:
                self.verified()
            else:
                ids = rng.sample(range(150), rng.choice([1, 10, 60]))
                serial += 1
                new = {i: {name: value(names[name], "%d-%d-%s" % (serial, i, name)) for name in names
                           if rng.random() < 0.7} for i in ids}
                self.ok("PUT", "/collections/c/points?wait=true",
                        {"points": [{"id": i, "vector": v} for i, v in new.items()]})
                points.update(new)
            self.compare(points, names)
        self.verified()
        self.compare(points, names)


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
