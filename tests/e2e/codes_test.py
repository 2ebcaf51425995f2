"""quantization_config: which codes a vector gets, through writes, searches, restarts and kith verify."""
import os
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server, verify

# Small sizes, so that a thousand points go through generations and partitions.
SMALL = {"index.first_generation_codes": 64, "index.generation_codes": 256,
         "index.partition_start_codes": 128, "index.partition_codes": 32}
COUNT, K = 900, 10
WORDS = {"bits1": ("bits1", None), "bits1_5": ("bits1_5", None), "bits2": ("bits2", None)}
SERVER = None


def setUpModule():
    global SERVER
    SERVER = Server(config=SMALL).start()


def tearDownModule():
    SERVER.close()


def rows(count, dim, seed):
    return np.random.default_rng(seed).normal(0.2, 1, (count, dim)).astype(np.float32)


def by_dim(dim):
    """The codes of no choice: two bits up to 256 dims, then four behind."""
    return ("bits2" if 32 <= dim <= 256 else "bits1", "bits4")


def codes(first, second, scale="eden"):
    return {"first_stage": first, "second_stage": second, "scale": scale}


class Case(unittest.TestCase):
    def create(self, name, body):
        SERVER.result("DELETE", "/collections/" + name)
        SERVER.result("PUT", "/collections/" + name, body)

    def info(self, name):
        return SERVER.result("GET", "/collections/" + name)

    def put(self, name, vectors):
        """vectors: {name: rows}, "" for the default one."""
        points = [{"id": i, "vector": vectors[""][i].tolist() if "" in vectors else
                   {key: value[i].tolist() for key, value in vectors.items()}} for i in range(COUNT)]
        SERVER.result("PUT", "/collections/%s/points?wait=true" % name, {"points": points})

    def compare(self, name, using, metric, base, queries):
        """All answers at recall 1, with exact scores."""
        for q in queries:
            body = {"query": q.tolist(), "limit": K}
            if using:
                body["using"] = using
            found = SERVER.result("POST", "/collections/%s/points/query?recall=1" % name, body)["points"]
            wide, point = base.astype(np.float64), q.astype(np.float64)
            if metric == "Cosine":
                scores = wide @ point / np.linalg.norm(wide, axis=1) / np.linalg.norm(point)
            elif metric == "Dot":
                scores = wide @ point
            else:
                scores = -np.linalg.norm(wide - point, axis=1)
            best = np.argsort(-scores)[:K]
            self.assertEqual([p["id"] for p in found], best.tolist())
            signed = [p["score"] if metric != "Euclid" else -p["score"] for p in found]
            np.testing.assert_allclose(signed, scores[best], rtol=1e-5, atol=1e-4)

    def default_recall(self, name, metric, base, queries):
        hits = 0
        for q in queries:
            exact = SERVER.result("POST", "/collections/%s/points/query" % name,
                                  {"query": q.tolist(), "limit": K, "params": {"exact": True}})["points"]
            found = SERVER.result("POST", "/collections/%s/points/query" % name,
                                  {"query": q.tolist(), "limit": K})["points"]
            hits += len({p["id"] for p in exact} & {p["id"] for p in found})
        return hits / K / len(queries)


class Search(Case):
    def one(self, kind, bits, dim, metric):
        name = "one"
        quantization = {kind: {"bits": bits}}
        self.create(name, {"vectors": {"size": dim, "distance": metric}, "quantization_config": quantization})
        info = self.info(name)
        self.assertEqual(info["config"]["quantization_config"], {"turbo": {"bits": bits}})
        first, second = WORDS.get(bits, (by_dim(dim)[0], bits))
        scale = "turboquant_mse" if kind == "turboquant_mse" else "eden"
        self.assertEqual(info["codes"], {"": codes(first, second, scale)})
        base, queries = rows(COUNT, dim, 1), rows(4, dim, 2)
        self.put(name, {"": base})
        self.compare(name, "", metric, base, queries)
        self.assertGreaterEqual(self.default_recall(name, metric, base, rows(20, dim, 3)), .98)

    def test_every_choice(self):
        for kind in ("turbo", "turboquant_mse"):
            for i, bits in enumerate(("bits1", "bits1_5", "bits2", "bits4", "bits8")[:5 if kind == "turbo" else 4]):
                for j, dim in enumerate((48, 300)):
                    with self.subTest(kind=kind, bits=bits, dim=dim):
                        self.one(kind, bits, dim, ("Cosine", "Dot", "Euclid")[(i + j) % 3])

    def test_few_dims_and_no_codes(self):
        for dim, metric in ((1, "Euclid"), (7, "Dot"), (40, "Manhattan")):
            with self.subTest(dim=dim):
                self.one_exact(dim, metric)

    def one_exact(self, dim, metric):
        self.create("few", {"vectors": {"size": dim, "distance": metric},
                            "quantization_config": {"turbo": {"bits": "bits1"}}})
        base = rows(COUNT, dim, 1)
        self.put("few", {"": base})
        self.assertEqual(self.default_recall("few", metric, base, rows(5, dim, 2)), 1)


class Kept(Case):
    def test_restart_and_verify(self):
        base = {"a": rows(COUNT, 64, 1), "b": rows(COUNT, 320, 2), "c": rows(COUNT, 40, 3)}
        self.create("kept", {
            "vectors": {"a": {"size": 64, "distance": "Cosine",
                              "quantization_config": {"turbo": {"bits": "bits1_5"}}},
                        "b": {"size": 320, "distance": "Euclid"},
                        "c": {"size": 40, "distance": "Dot",
                              "quantization_config": {"turboquant_mse": {}}}},
            "quantization_config": {"turbo": {"bits": "bits1", "always_ram": True}}})
        expected = {"a": codes("bits1_5", None), "b": codes("bits1", None),
                    "c": codes("bits2", "bits4", "turboquant_mse")}
        before = self.info("kept")
        self.assertEqual(before["codes"], expected)
        vectors = before["config"]["params"]["vectors"]
        self.assertEqual(vectors["a"]["quantization_config"], {"turbo": {"bits": "bits1_5"}})
        self.assertNotIn("quantization_config", vectors["b"])
        self.assertEqual(vectors["c"]["quantization_config"], {"turbo": {}})
        self.assertEqual(before["config"]["quantization_config"], {"turbo": {"bits": "bits1", "always_ram": True}})
        self.put("kept", base)
        SERVER.kill()
        code, text = verify(SERVER.data)
        self.assertEqual(code, 0, text)
        SERVER.start()
        after = self.info("kept")
        self.assertEqual((after["codes"], after["config"]), (expected, before["config"]))
        for using, metric in (("a", "Cosine"), ("b", "Euclid"), ("c", "Dot")):
            self.compare("kept", using, metric, base[using], rows(3, base[using].shape[1], 9))

    def test_other_kinds_change_nothing(self):
        for quantization in ({"scalar": {"type": "int8", "quantile": .99, "always_ram": True}},
                             {"product": {"compression": "x16"}},
                             {"binary": {"encoding": "two_bits"}}):
            self.create("other", {"vectors": {"size": 40, "distance": "Dot"}, "quantization_config": quantization})
            info = self.info("other")
            self.assertEqual(info["config"]["quantization_config"], quantization)
            self.assertEqual(info["codes"], {"": codes("bits2", "bits4")})

    def test_a_vectors_own_choice_counts(self):
        self.create("own", {"vectors": {"size": 400, "distance": "Dot",
                                        "quantization_config": {"scalar": {"type": "int8"}}},
                            "quantization_config": {"turbo": {"bits": "bits2"}}})
        self.assertEqual(self.info("own")["codes"], {"": codes("bits1", "bits4")})

    def test_codes_are_made_once(self):
        path = "/collections/once"
        self.create("once", {"vectors": {"size": 64, "distance": "Dot"},
                             "quantization_config": {"turbo": {"bits": "bits2"}}})
        for change in ({"turbo": {"bits": "bits1"}}, {"turbo": {}}, "Disabled", {"scalar": {"type": "int8"}},
                       {"turboquant_mse": {"bits": "bits2"}}):
            status, reply = SERVER.request("PATCH", path, {"quantization_config": change})
            self.assertEqual(status, 400, reply)
            self.assertIn("codes are made once", reply["status"]["error"])
        status, reply = SERVER.request("PATCH", path, {
            "vectors": {"": {"quantization_config": {"turbo": {"bits": "bits4"}}}}})
        self.assertEqual(status, 400, reply)
        self.assertIn("bits2, not bits4", reply["status"]["error"])
        same = {"turbo": {"bits": "bits2", "always_ram": False}}
        SERVER.result("PATCH", path, {"quantization_config": same, "optimizers_config": {"deleted_threshold": .5}})
        info = self.info("once")
        self.assertEqual(info["config"]["quantization_config"], same)
        self.assertEqual(info["codes"], {"": codes("bits2", None)})


class Refused(Case):
    def test_wrong_values(self):
        for quantization, text in (
                ({"turbo": {"bits": "bits3"}}, "quantization_config.turbo.bits"),
                ({"turbo": {"bits": 2}}, "quantization_config.turbo.bits"),
                ({"turbo": {"always_ram": 1}}, "quantization_config.turbo.always_ram"),
                ({"turboquant_mse": {"bits": "bits8"}}, "quantization_config.turboquant_mse.bits"),
                ({"turbo": {}, "turboquant_mse": {}}, "quantization_config"),
                ({"turbo": []}, "quantization_config.turbo"),
                ({}, "quantization_config")):
            for body in ({"vectors": {"size": 4, "distance": "Dot"}, "quantization_config": quantization},
                         {"vectors": {"v": {"size": 4, "distance": "Dot", "quantization_config": quantization}}}):
                status, reply = SERVER.request("PUT", "/collections/refused", body)
                self.assertEqual(status, 400, (quantization, reply))
                self.assertIn(text, reply["status"]["error"])
        self.assertFalse(SERVER.result("GET", "/collections/refused/exists")["exists"])

    def test_search_params(self):
        self.create("params", {"vectors": {"size": 64, "distance": "Dot"},
                               "quantization_config": {"turbo": {"bits": "bits1"}}})
        base = rows(COUNT, 64, 1)
        self.put("params", {"": base})
        query = {"query": base[3].tolist(), "limit": 5}
        exact = SERVER.result("POST", "/collections/params/points/query", dict(query, params={"exact": True}))
        for quantization in ({"ignore": True}, {"rescore": False}, {"rescore": True, "oversampling": 4.0}, None):
            found = SERVER.result("POST", "/collections/params/points/query?recall=1",
                                  dict(query, params={"quantization": quantization}))
            self.assertEqual(found, exact)  # scores are exact whatever is asked
        for quantization, status, text in (({"ignore": 1}, 400, "params.quantization.ignore"),
                                           ({"rescore": "x"}, 400, "params.quantization.rescore"),
                                           ({"oversampling": .5}, 422, "params.quantization.oversampling")):
            got, reply = SERVER.request("POST", "/collections/params/points/query",
                                        dict(query, params={"quantization": quantization}))
            self.assertEqual(got, status, reply)
            self.assertIn(text, reply["status"]["error"])


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=0)
    result = program.result
    failed = len(result.failures) + len(result.errors)
    print("%d passed, %d failed" % (result.testsRun - failed, failed))
    sys.exit(failed > 0)
