"""Collections whose ids are any strings: in every endpoint as they were given, through kills, and what is refused."""
import io
import json
import os
import random
import sys
import unittest
from urllib.parse import quote

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server, verify

import numpy as np

SERVER = None
KITH = {"kith": {"string_ids": True}}
UUID = "550e8400-e29b-41d4-a716-446655440000"
IDS = ["doc 1", "doc/2", "grün", UUID, UUID.upper(), "123", "\"quoted\" \\ and \u0000", "x" * 512, "😀", 0, 2**64 - 1]


def setUpModule():
    global SERVER
    SERVER = Server().start()


def tearDownModule():
    SERVER.close()


class Case(unittest.TestCase):
    def setUp(self):
        for name in ("s", "t", "plain"):
            self.ok("DELETE", "/collections/" + name)
        self.ok("PUT", "/collections/s", {"vectors": {"size": 2, "distance": "Dot"}, "metadata": KITH})

    def ok(self, method, path, body=None):
        return SERVER.result(method, path, body)

    def refused(self, status, text, method, path, body=None):
        got, reply = SERVER.request(method, path, body)
        self.assertEqual(got, status, reply)
        self.assertIn(text, reply["status"]["error"])

    def fill(self, name="s"):
        self.ok("PUT", "/collections/%s/points?wait=true" % name, {"points": [
            {"id": id, "vector": [i, 1], "payload": {"n": i, "name": str(id), "even": i % 2 == 0}} for i, id in enumerate(IDS)]})

    def ids(self, **more):
        return [p["id"] for p in self.ok("POST", "/collections/s/points/scroll", dict({"limit": 1000}, **more))["points"]]


class Reads(Case):
    def test_all(self):
        self.fill()
        points = "/collections/s/points"
        every = self.ids()
        self.assertEqual(every[:2], [0, 2**64 - 1])  # numbers first
        self.assertEqual(sorted(map(str, every)), sorted(map(str, IDS)))
        for id in IDS:
            self.assertEqual(self.ok("POST", points, {"ids": [id]})[0]["payload"]["name"], str(id))
            self.assertEqual(self.ids(filter={"must": [{"has_id": [id]}]}), [id])
            best = self.ok("POST", points + "/query", {"query": id, "limit": 20})["points"]
            self.assertEqual(len(best), len(IDS) - 1)
            self.assertNotIn(id, [p["id"] for p in best])
        for id in IDS:
            if isinstance(id, str) and not set(id) & set("/\0") and id != "123":
                self.assertEqual(self.ok("GET", points + "/" + quote(id, safe=""))["id"], id)
        self.assertEqual(self.ids(filter={"must_not": [{"has_id": IDS[:8]}]}), [0, 2**64 - 1, "😀"])
        self.assertEqual(self.ok("POST", points + "/count", {"filter": {"must": [{"has_id": ["no", "doc 1"]}]}}), {"count": 1})

    def test_pages(self):
        self.fill()
        got, offset = [], None
        while True:
            page = self.ok("POST", "/collections/s/points/scroll", {"limit": 2, "offset": offset})
            got += [p["id"] for p in page["points"]]
            offset = page["next_page_offset"]
            if offset is None:
                break
        self.assertEqual(got, self.ids())

    def test_queries(self):
        self.fill()
        points = "/collections/s/points"
        both = {"positive": ["doc 1", [1, 2]], "negative": ["grün"]}
        self.assertEqual(len(self.ok("POST", points + "/query", {"query": {"recommend": both}})["points"]), len(IDS) - 2)
        self.assertEqual(len(self.ok("POST", points + "/recommend", {"positive": ["😀"], "limit": 3})), 3)
        self.ok("POST", points + "/query", {"query": {"discover": {"target": "doc/2", "context": {"positive": 0, "negative": UUID}}}})
        pairs = self.ok("POST", points + "/search/matrix/pairs", {"sample": 100, "limit": 100})["pairs"]
        self.assertEqual(len(pairs), len(IDS) * (len(IDS) - 1))
        self.assertEqual({str(p["a"]) for p in pairs}, set(map(str, IDS)))
        offsets = self.ok("POST", points + "/search/matrix/offsets", {"sample": 100})
        self.assertEqual(offsets["ids"], self.ids())
        groups = self.ok("POST", points + "/query/groups", {"query": [1, 1], "group_by": "name", "limit": 20, "group_size": 1,
                                                           "with_lookup": {"collection": "s", "with_payload": ["n"]}})["groups"]
        self.assertEqual(len(groups), len(IDS))
        for group in groups:  # the group's value is an id here; numbers as text are other ids
            found = group.get("lookup")
            self.assertEqual(found["id"] if found else None, group["id"] if group["id"] in IDS else None)

    def test_export_and_bulk(self):
        self.fill()
        status, data = SERVER.request("GET", "/collections/s/export", raw=True)
        self.assertEqual([json.loads(line)["id"] for line in data.splitlines()], self.ids())
        self.ok("PUT", "/collections/t", {"vectors": {"size": 2, "distance": "Dot"}, "metadata": KITH})
        status, reply = SERVER.request("POST", "/collections/t/bulk", data, {"Content-Type": "application/x-ndjson"})
        self.assertEqual((status, reply["result"]["points"]), (200, len(IDS)))
        self.assertEqual(SERVER.request("GET", "/collections/t/export", raw=True)[1], data)
        status, data = SERVER.request("GET", "/collections/s/export?format=npy&with_ids=true", raw=True)
        self.assertIn(b"'|S512'", data)
        status, data = SERVER.request("POST", "/collections/s/points/scroll", {"limit": 1000}, {"Accept": "application/x-npy"}, raw=True)
        arrays = io.BytesIO(data)
        self.assertEqual(np.load(arrays).shape, (len(IDS), 2))
        self.assertEqual([i.decode() for i in np.load(arrays)], [str(i).rstrip("\0") for i in self.ids()])  # numpy drops NULs at the end


class Writes(Case):
    def test_updates(self):
        """Random updates against a model, then a kill and verify."""
        rng, model = random.Random(3), {}
        path = "/collections/s/points"
        for step in range(300):
            id = rng.choice(IDS)
            what = rng.randrange(7)
            if what < 2 or not model:
                payload = {"n": step}
                body = {"points": [{"id": id, "vector": [step, 1], "payload": payload}]}
                if rng.random() < 0.5:
                    body = {"batch": {"ids": [id], "vectors": [[step, 1]], "payloads": [payload]}}
                self.ok("PUT", path + "?wait=true", body)
                model[id] = ([float(step), 1.0], payload)
                continue
            id = rng.choice(sorted(model, key=str))
            vector, payload = model[id]
            if what == 2:
                self.ok("POST", path + "/payload?wait=true", {"payload": {"p": step}, "points": [id]})
                model[id] = (vector, dict(payload, p=step))
            elif what == 3:
                self.ok("PUT", path + "/vectors?wait=true", {"points": [{"id": id, "vector": [1, step]}]})
                model[id] = ([1.0, float(step)], payload)
            elif what == 4:
                self.ok("POST", path + "/payload/clear?wait=true", {"points": [id]})
                model[id] = (vector, {})
            elif what == 5:
                self.ok("POST", path + "/delete?wait=true", {"filter": {"must": [{"has_id": [id, "other"]}]}})
                del model[id]
            else:
                self.ok("POST", path + "/batch?wait=true", {"operations": [
                    {"set_payload": {"payload": {"b": 1}, "points": [id]}}, {"delete": {"points": ["none", id]}}]})
                del model[id]
        self.compare(model)
        SERVER.kill()
        SERVER.start()
        self.compare(model)
        SERVER.stop()
        code, text = verify(SERVER.data)
        SERVER.start()
        self.assertEqual(code, 0, text)
        self.compare(model)

    def compare(self, model):
        points = self.ok("POST", "/collections/s/points/scroll", {"limit": 1000, "with_vector": True})["points"]
        self.assertEqual({p["id"]: (p["vector"], p["payload"]) for p in points}, model)


class Refused(Case):
    def test_texts(self):
        self.fill()
        path = "/collections/s/points"
        limits = "a point ID that is a string must have 1 to 512 bytes"
        for id in ("", "x" * 513, "ü" * 257):
            self.refused(400, limits, "PUT", path, {"points": [{"id": id, "vector": [1, 2]}]})
            self.refused(400, limits, "PUT", path, {"batch": {"ids": [id], "vectors": [[1, 2]]}})
            self.refused(400, limits, "POST", path, {"ids": [id]})
            self.refused(400, limits, "POST", path + "/count", {"filter": {"must": [{"has_id": [id]}]}})
            self.refused(400, limits, "POST", path + "/query", {"query": id})
            self.refused(400, limits, "POST", path + "/delete", {"points": [id]})
        for id in (-1, 1.5, True, None, {}, [[]]):
            self.refused(400, "is not a valid point ID", "PUT", path, {"points": [{"id": id, "vector": [1, 2]}]})
        self.refused(404, "Not found: Point with id no such does not exists!", "GET", path + "/no%20such")
        self.refused(404, "Not found: No point with id no \"such\" ü found", "POST", path + "/query", {"query": "no \"such\" \u00fc"})
        self.refused(404, "Not found: No point with id nosuch found", "POST", path + "/payload?wait=true", {"payload": {}, "points": ["doc 1", "nosuch"]})
        self.refused(400, "metadata.kith.string_ids: cannot be changed after creation", "PATCH", "/collections/s", {"metadata": {"kith": None}})
        self.refused(400, "metadata.kith.string_ids: expected a boolean", "PUT", "/collections/t", {"metadata": {"kith": {"string_ids": 1}}})
        self.assertEqual(len(self.ids()), len(IDS))

    def test_without_the_setting(self):
        self.ok("PUT", "/collections/plain", {"vectors": {"size": 2, "distance": "Dot"}})
        path = "/collections/plain/points"
        text = "value doc 1 is not a valid point ID, valid values are either an unsigned integer or a UUID"
        self.refused(400, text, "PUT", path, {"points": [{"id": "doc 1", "vector": [1, 2]}]})
        self.refused(400, text, "POST", path, {"ids": ["doc 1"]})
        self.refused(400, text, "POST", path + "/count", {"filter": {"must": [{"has_id": ["doc 1"]}]}})
        self.refused(400, text, "GET", path + "/doc%201")
        self.refused(400, "metadata.kith.string_ids: cannot be changed after creation", "PATCH", "/collections/plain", {"metadata": KITH})
        self.ok("PUT", path + "?wait=true", {"points": [{"id": UUID.upper(), "vector": [1, 2]}]})
        self.assertEqual(self.ok("GET", path + "/" + UUID)["id"], UUID)


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
