"""Text indexes from outside: what text, text_any and phrase mean with and without one, in every place
that takes a filter and in formulas, and what a wrong definition answers."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server

SERVER = None
TEXTS = ["The quick brown fox", "brown quick foxes", "A lazy dog", "Running dogs run", "quickly, Brown"]


def setUpModule():
    global SERVER
    SERVER = Server().start()


def tearDownModule():
    SERVER.close()


class Text(unittest.TestCase):
    points = "/collections/t/points"

    def setUp(self):
        self.ok("DELETE", "/collections/t")
        self.ok("PUT", "/collections/t", {"vectors": {"size": 2, "distance": "Dot"}})
        self.ok("PUT", self.points + "?wait=true", {"points": [
            {"id": i, "vector": [i + 1, 1], "payload": {"t": text}} for i, text in enumerate(TEXTS)]})

    def ok(self, method, path, body=None):
        return SERVER.result(method, path, body)

    def index(self, **options):
        self.ok("PUT", "/collections/t/index?wait=true",
                {"field_name": "t", "field_schema": dict({"type": "text"}, **options)})

    def ids(self, match):
        """The same from every endpoint."""
        condition = {"key": "t", "match": match}
        body = {"filter": {"must": condition}}
        found = [p["id"] for p in self.ok("POST", self.points + "/scroll", dict(body, limit=10))["points"]]
        self.assertEqual(self.ok("POST", self.points + "/count", body)["count"], len(found))
        query = self.ok("POST", self.points + "/query", dict(body, limit=10, query=[1, 0]))["points"]
        self.assertEqual(sorted(p["id"] for p in query), found)
        formula = self.ok("POST", self.points + "/query", {
            "prefetch": {"query": [1, 0], "limit": 10}, "limit": 10, "query": {"formula": condition}})["points"]
        self.assertEqual(sorted(p["id"] for p in formula if p["score"] == 1), found)
        self.assertEqual({p["score"] for p in formula} - {0, 1}, set())
        return found

    def test_without_index_substrings(self):
        self.assertEqual(self.ids({"text": "quick"}), [0, 1, 4])
        self.assertEqual(self.ids({"text": "The quick"}), [0])
        self.assertEqual(self.ids({"text_any": "lazy Brown"}), [2, 4])
        self.assertEqual(self.ids({"phrase": "brown fox"}), [0])

    def test_with_index_tokens(self):
        self.index(phrase_matching=True)
        self.assertEqual(self.ids({"text": "QUICK"}), [0, 1])
        self.assertEqual(self.ids({"text": "fox brown"}), [0])
        self.assertEqual(self.ids({"text_any": "lazy brown"}), [0, 1, 2, 4])
        self.assertEqual(self.ids({"phrase": "quick brown"}), [0])
        self.assertEqual(self.ids({"phrase": "brown quick"}), [1])
        self.ok("DELETE", "/collections/t/index/t?wait=true")
        self.assertEqual(self.ids({"text": "QUICK"}), [])

    def test_stemmer_and_stopwords(self):
        self.index(stemmer={"type": "snowball", "language": "english"}, stopwords="english")
        self.assertEqual(self.ids({"text": "fox"}), [0, 1])
        self.assertEqual(self.ids({"text": "the dogs"}), [2, 3])
        self.assertEqual(self.ids({"text": "runs"}), [3])
        self.assertEqual(self.ids({"text": "the"}), [])
        schema = self.ok("GET", "/collections/t")["payload_schema"]["t"]
        self.assertEqual((schema["data_type"], schema["points"]), ("text", 5))
        self.assertEqual(schema["params"]["stemmer"], {"type": "snowball", "language": "english"})

    def test_redefinition_and_writes(self):
        self.index()
        self.index(tokenizer="prefix", min_token_len=2, max_token_len=6)
        self.assertEqual(self.ids({"text": "qui"}), [0, 1, 4])
        self.ok("POST", self.points + "/payload?wait=true", {"payload": {"t": "quite so"}, "points": [2]})
        self.assertEqual(self.ids({"text": "qui"}), [0, 1, 2, 4])
        self.ok("POST", self.points + "/delete?wait=true",
                {"filter": {"must": {"key": "t", "match": {"text": "quic"}}}})
        self.assertEqual([p["id"] for p in self.ok("POST", self.points + "/scroll", {})["points"]], [2, 3])

    def test_wrong_definitions(self):
        for options, status, text in (
                ({"stemmer": {"type": "snowball", "language": "klingon"}}, 400, "field_schema.stemmer"),
                ({"stopwords": "klingon"}, 400, "field_schema.stopwords"),
                ({"stopwords": {"languages": ["klingon"]}}, 400, "field_schema.stopwords"),
                ({"tokenizer": "letters"}, 400, "field_schema.tokenizer"),
                ({"min_token_len": "2"}, 400, "field_schema.min_token_len"),
                ({"min_token_len": 3, "max_token_len": 1}, 422, "field_schema.min_token_len")):
            got, reply = SERVER.request("PUT", "/collections/t/index?wait=true",
                                        {"field_name": "t", "field_schema": dict({"type": "text"}, **options)})
            self.assertEqual(got, status, reply)
            self.assertIn(text, reply["status"]["error"])
        self.assertEqual(self.ok("GET", "/collections/t")["payload_schema"], {})


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
