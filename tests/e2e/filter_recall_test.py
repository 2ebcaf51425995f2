"""Recall under a filter is that of the same search on the matching points alone, from 0.01 % to 99 % of them,
whether what matches has to do with where the vectors lie or not; with a payload index and without."""
import json
import os
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import ROOT, Server

SMALL = {"index.first_generation_codes": 1024, "index.generation_codes": 2048,
         "index.partition_start_codes": 2048, "index.partition_codes": 64}
SHARES = (0.0001, 0.001, 0.01, 0.05, 0.3, 0.9, 0.99)
QUERIES = 25
K = 10
ROWS = None


def setUpModule():
    global ROWS
    ROWS = np.load(os.path.join(ROOT, "tests", "data", "words-10k", "words.npy")).astype(np.float32)
    ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)


class Recall(unittest.TestCase):
    def setUp(self):
        self.server = Server(config=SMALL).start()
        self.connection = self.server.connection()
        rng = np.random.default_rng(3)
        self.queries = ROWS[rng.choice(len(ROWS), QUERIES, replace=False)] + \
            rng.normal(0, .03, (QUERIES, ROWS.shape[1])).astype(np.float32)
        self.queries /= np.linalg.norm(self.queries, axis=1, keepdims=True)
        # places of all points in a random order, and in the order of one direction
        self.places = {"any": rng.permutation(len(ROWS)),
                       "near": np.argsort(np.argsort(ROWS @ rng.normal(size=ROWS.shape[1])))}

    def tearDown(self):
        self.connection.close()
        self.server.close()

    def put(self, name, ids):
        self.server.result("PUT", "/collections/" + name, {"vectors": {"size": ROWS.shape[1], "distance": "Cosine"}})
        for begin in range(0, len(ids), 2500):
            lines = "".join('{"id":%d,"vector":%s,"payload":{"any":%d,"near":%d,"u":{"any":%d}}}\n' % (
                i, json.dumps([round(float(x), 6) for x in ROWS[i]]), self.places["any"][i], self.places["near"][i],
                self.places["any"][i]) for i in ids[begin:begin + 2500])
            self.server.result("POST", "/collections/%s/bulk" % name, lines.encode(), self.connection,
                               {"Content-Type": "application/x-ndjson"})

    def recall(self, name, body, among):
        """Tie-aware, over all queries; every answer is full and of matching points only."""
        good, inside = 0, set(among.tolist())
        want = min(K, len(among))
        for query in self.queries:
            scores = ROWS[among] @ query
            least = np.partition(scores, -want)[-want]
            points = self.server.result("POST", "/collections/%s/points/query" % name,
                                        dict(body, query=[float(x) for x in query], limit=K), self.connection)["points"]
            self.assertEqual(len(points), want)
            self.assertTrue(all(p["id"] in inside for p in points))
            good += sum(p["score"] >= least - 1e-5 for p in points)
        return good / (want * QUERIES)

    def check(self, key, condition_key, alone):
        for share in SHARES:
            count = max(1, int(share * len(ROWS)))
            among = np.flatnonzero(self.places[key] < count)
            body = {"filter": {"must": {"key": condition_key, "range": {"lt": count}}}}
            filtered = self.recall("all", body, among)
            own = 0.99
            if alone:
                self.put("alone", among)
                own = self.recall("alone", {}, among)
                self.server.result("DELETE", "/collections/alone")
            self.assertGreaterEqual(filtered, min(own, 0.99) - 0.01, "%s: %g %% match, alone %.4f" % (key, 100 * share, own))

    def test_recall(self):
        self.put("all", np.arange(len(ROWS)))
        self.check("any", "u.any", alone=False)  # no index
        for key in ("any", "near"):
            self.server.result("PUT", "/collections/all/index?wait=true", {"field_name": key, "field_schema": "integer"})
            self.check(key, key, alone=key == "near")


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
