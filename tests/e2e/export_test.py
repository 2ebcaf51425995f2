"""Export: lines and matrices, of all points or a filter's, in bounded memory, beside writes; and back in by bulk."""
import io
import json
import os
import socket
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server

import numpy as np

SERVER = None
UUID = "550e8400-e29b-41d4-a716-446655440000"
NDJSON = {"Content-Type": "application/x-ndjson"}


def setUpModule():
    global SERVER
    SERVER = Server(config={"export.running_max": "2"}).start()


def tearDownModule():
    SERVER.close()


def export(name, query="", body=None):
    """(status, bytes)"""
    return SERVER.request("GET" if body is None else "POST", "/collections/%s/export%s" % (name, query), body, raw=True)


def bulk(name, data):
    status, reply = SERVER.request("POST", "/collections/%s/bulk" % name, data, NDJSON)
    assert status == 200, reply
    return reply["result"]["points"]


def fill(name, count, dim=8, text=60):
    """A collection made by one bulk upload; its vectors."""
    SERVER.result("DELETE", "/collections/" + name)
    SERVER.result("PUT", "/collections/" + name, {"vectors": {"size": dim, "distance": "Dot"}})
    rows = np.random.default_rng(count).standard_normal((count, dim)).astype("<f4")
    lines = [json.dumps({"id": i, "vector": [float(x) for x in rows[i]], "payload": {"n": i, "text": "x" * text}})
             for i in range(count)]
    bulk(name, "\n".join(lines).encode())
    return rows


class Lines(unittest.TestCase):
    def test_everything_comes_back_as_it_was(self):
        """Named, missing, sparse and multivectors; payloads with numbers as they were written."""
        for name in ("from", "to"):
            SERVER.result("DELETE", "/collections/" + name)
            SERVER.result("PUT", "/collections/" + name, {
                "vectors": {"": {"size": 2, "distance": "Cosine"}, "b": {"size": 3, "distance": "Euclid"},
                            "m": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}},
                "sparse_vectors": {"s": {}}})
        points = b"""{"id": 18446744073709551615, "vector": [3, 4], "payload": {"a": 10.0, "b": 1e3, "c": 12345678901234567890}}
{"id": "%s", "vector": {"b": [1, 2, 3], "s": {"indices": [4, 7], "values": [0.5, -1]}}, "payload": {"u": "gr\xc3\xbcn \\u0000"}}
{"id": 7, "vector": {}}
{"id": 8, "vector": {"": [1, 0], "m": [[1, 2], [3, 4]]}, "payload": {}}""" % UUID.encode()
        self.assertEqual(bulk("from", points), 4)
        status, data = export("from")
        self.assertEqual(status, 200)
        lines = data.splitlines()
        self.assertEqual([json.loads(line)["id"] for line in lines], [7, 8, 2**64 - 1, UUID])
        self.assertIn(b'"a":10.0,"b":1e3,"c":12345678901234567890', lines[2])
        self.assertEqual(bulk("to", data), 4)
        self.assertEqual(export("to")[1], data)

    def test_what_is_shown(self):
        fill("shown", 3)
        self.assertEqual(export("shown", "?with_payload=false&with_vector=false")[1], b'{"id":0}\n{"id":1}\n{"id":2}\n')
        body = {"with_payload": ["n"], "with_vector": False, "filter": {"must": [{"key": "n", "range": {"gte": 1}}]}}
        self.assertEqual(export("shown", "", body)[1], b'{"id":1,"payload":{"n":1}}\n{"id":2,"payload":{"n":2}}\n')
        self.assertEqual(export("shown", "", {"filter": {"must": [{"has_id": []}]}}), (200, b""))
        SERVER.result("DELETE", "/collections/none")
        SERVER.result("PUT", "/collections/none", {})
        self.assertEqual(export("none"), (200, b""))

    def test_an_alias(self):
        fill("aliased", 2)
        SERVER.result("POST", "/collections/aliases", {"actions": [
            {"create_alias": {"collection_name": "aliased", "alias_name": "other"}}]})
        self.assertEqual(export("other"), export("aliased"))


class Matrix(unittest.TestCase):
    def load(self, *arguments):
        status, data = export(*arguments)
        self.assertEqual(status, 200, data[:300])
        f = io.BytesIO(data)
        arrays = [np.load(f)]
        if "with_ids=true" in arguments[1]:
            arrays.append(np.load(f))
        self.assertEqual(f.read(), b"")
        return arrays if len(arrays) > 1 else arrays[0]

    def test_numbers(self):
        rows = fill("m", 5000)
        np.testing.assert_array_equal(self.load("m", "?format=npy"), rows)
        got, ids = self.load("m", "?format=npy&with_ids=true", {"filter": {"must": [{"key": "n", "match": {"any": [9, 4, 4000]}}]}})
        self.assertEqual((ids.dtype, list(ids)), (np.dtype("<u8"), [4, 9, 4000]))
        np.testing.assert_array_equal(got, rows[[4, 9, 4000]])
        got, ids = self.load("m", "?format=npy&with_ids=true", {"filter": {"must": [{"has_id": []}]}})
        self.assertEqual((got.shape, got.dtype, ids.shape), ((0, 8), np.dtype("<f4"), (0,)))

    def test_uuids_and_missing_vectors(self):
        SERVER.result("DELETE", "/collections/mixed")
        SERVER.result("PUT", "/collections/mixed", {"vectors": {"a": {"size": 2, "distance": "Dot"}, "b": {"size": 1, "distance": "Dot"}}})
        SERVER.result("PUT", "/collections/mixed/points?wait=true", {"points": [
            {"id": UUID, "vector": {"a": [1, 2]}}, {"id": 5, "vector": {"b": [3]}}, {"id": 123, "vector": {"a": [4, 5], "b": [6]}}]})
        got, ids = self.load("mixed", "?format=npy&vector=a&with_ids=true")
        np.testing.assert_array_equal(got, [[4, 5], [1, 2]])
        self.assertEqual((ids.dtype, list(ids)), (np.dtype("S36"), [b"123", UUID.encode()]))
        got, ids = self.load("mixed", "?format=npy&vector=b&with_ids=true")
        self.assertEqual((got.tolist(), ids.tolist()), ([[3.0], [6.0]], [5, 123]))

    def test_into_bulk(self):
        rows = fill("back", 700)
        status, data = export("back", "?format=npy")
        SERVER.result("DELETE", "/collections/again")
        status, reply = SERVER.request("POST", "/collections/again/bulk?distance=Dot", data, {"Content-Type": "application/x-npy"})
        self.assertEqual((status, reply["result"]["points"]), (200, 700))
        np.testing.assert_array_equal(self.load("again", "?format=npy"), rows)


class Refused(unittest.TestCase):
    def refused(self, status, text, query="", body=None, name="r"):
        got, data = export(name, query, body)
        self.assertEqual(got, status, data)
        self.assertIn(text, json.loads(data)["status"]["error"])

    def test_texts(self):
        SERVER.result("DELETE", "/collections/r")
        SERVER.result("PUT", "/collections/r", {"vectors": {"a": {"size": 2, "distance": "Dot"},
                      "m": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}}, "sparse_vectors": {"s": {}}})
        self.refused(404, "Not found: Collection `nope` doesn't exist!", name="nope")
        self.refused(400, "format: unknown variant `csv`, expected `ndjson` or `npy`", "?format=csv")
        self.refused(400, "Bad request: vector has no meaning for format=ndjson", "?vector=a")
        self.refused(400, "Bad request: with_ids has no meaning for format=ndjson", "?with_ids=true")
        self.refused(400, "Bad request: with_payload has no meaning for format=npy", "?format=npy&with_payload=true")
        self.refused(400, "Bad request: with_vector has no meaning for format=npy", "?format=npy&vector=a", {"with_vector": True})
        self.refused(400, "with_vector: invalid value `1`, expected `true` or `false`", "?with_vector=1")
        self.refused(400, "Wrong input: Not existing vector name error: ", "?format=npy")
        self.refused(400, "vector `s` is not dense", "?format=npy&vector=s")
        self.refused(400, "vector `m` is not dense", "?format=npy&vector=m")
        self.refused(400, "Format error in JSON body: ", "", {"filter": {"must": 7}})
        self.refused(400, "Format error in JSON body: expected an object", "", [1])
        self.refused(422, "timeout: value 0 invalid", "?timeout=0")


class Streams(unittest.TestCase):
    """A client that is slow, or goes away; writes, deletes and the end of the collection meanwhile."""
    COUNT = 30000  # about 20 MB: more than sockets hold

    @classmethod
    def setUpClass(cls):
        fill("big", cls.COUNT, text=600)

    def open(self, name="big", query=""):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.settimeout(60)
        s.connect(("127.0.0.1", SERVER.port))
        s.sendall(b"GET /collections/%s/export%s HTTP/1.0\r\n\r\n" % (name.encode(), query.encode()))
        f = s.makefile("rb")
        s.close()  # when f is
        head = []
        while True:
            line = f.readline()
            if line in (b"\r\n", b""):
                return b"".join(head), f
            head.append(line)

    @unittest.skipIf("asan" in os.environ.get("KITH", ""), "ASan keeps what is freed")
    def test_memory(self):
        _, f = self.open()
        anonymous = SERVER.memory()[0]
        for _ in range(10):
            f.read(1500000)
            self.assertLess(SERVER.memory()[0] - anonymous, 8 << 20)
        f.close()

    def test_writes_meanwhile(self):
        """What stays is exported once; what is written meanwhile is there or not, but whole."""
        _, f = self.open()
        first = [f.readline() for _ in range(10)]
        SERVER.result("POST", "/collections/big/points/delete?wait=true", {"points": list(range(1000, self.COUNT, 1000))})
        points = [{"id": self.COUNT + i, "vector": [0] * 8, "payload": {"n": -1, "text": "new"}} for i in range(50)]
        points += [{"id": i, "vector": [1] * 8, "payload": {"n": i, "text": "changed"}} for i in range(7, self.COUNT, 1000)]
        SERVER.result("PUT", "/collections/big/points?wait=true", {"points": points})
        lines = [json.loads(line) for line in first + f.read().splitlines()]
        f.close()
        ids = [p["id"] for p in lines]
        self.assertEqual(ids, sorted(set(ids)))
        untouched = [i for i in range(self.COUNT) if i % 1000 not in (0, 7)]
        self.assertEqual([i for i in ids if i < self.COUNT and i % 1000 not in (0, 7)], untouched)
        for p in lines:
            if p["payload"]["text"] == "changed":
                self.assertEqual(p["vector"], [1.0] * 8)
        status, data = export("big", "?with_payload=false&with_vector=false")
        self.assertEqual(len(data.splitlines()), self.COUNT - len(range(1000, self.COUNT, 1000)) + 50)
        fill("big", self.COUNT, text=600)

    def test_the_collection_ends(self):
        fill("ends", 20000, text=800)
        c = SERVER.connection()
        c.request("GET", "/collections/ends/export")
        reply = c.getresponse()
        reply.read(1000)
        SERVER.result("DELETE", "/collections/ends")  # does not wait for who reads
        fill("ends", 20000, text=800)                 # nor is another of its name mistaken for it
        with self.assertRaises(Exception):
            while reply.read(1 << 20):
                pass
        c.close()

    def test_too_many(self):
        readers = [self.open()[1] for _ in range(2)]
        status, data = export("big")
        self.assertEqual(status, 503)
        self.assertIn("2 exports (export.running_max) are running", json.loads(data)["status"]["error"])
        for f in readers:
            f.close()
        while export("big", "?format=npy")[0] == 503:  # until the server has seen that they have gone
            pass

    def test_matrix_spool_leaves_nothing(self):
        before = sorted(os.listdir(SERVER.data))
        head, f = self.open("big", "?format=npy&with_ids=true")
        self.assertIn(b"Content-Length: %d\r\n" % (128 + self.COUNT * 32 + 128 + self.COUNT * 8), head)
        self.assertEqual(sorted(os.listdir(SERVER.data)), before)
        self.assertEqual(np.load(io.BytesIO(f.read())).shape, (self.COUNT, 8))
        f.close()


class Replies(unittest.TestCase):
    """Retrieve, scroll and query as matrices, by Accept."""

    def arrays(self, path, body, accept="application/x-npy"):
        connection = SERVER.connection()
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", "Accept": accept})
        reply = connection.getresponse()
        data = reply.read()
        headers = dict(reply.getheaders())
        connection.close()
        if reply.status != 200:
            return reply.status, json.loads(data)["status"]["error"], headers
        self.assertEqual(headers["Content-Type"], "application/x-npy")
        stream, arrays = io.BytesIO(data), []
        while stream.tell() < len(data):
            arrays.append(np.load(stream, allow_pickle=False))
        return reply.status, arrays, headers

    def json(self, path, body):
        status, reply = SERVER.request("POST", path, body)
        self.assertEqual(status, 200, reply)
        return reply["result"]

    @classmethod
    def setUpClass(cls):
        assert SERVER.request("PUT", "/collections/mx", {"vectors": {
            "a": {"size": 3, "distance": "Dot"}, "b": {"size": 2, "distance": "Euclid"}},
            "sparse_vectors": {"s": {}}})[0] == 200
        points = [{"id": i, "vector": {"a": [i, 1, -i / 4], "b": [i, 2]}} for i in range(1, 8)]
        del points[3]["vector"]["a"]
        assert SERVER.request("PUT", "/collections/ux", {"vectors": {"size": 2, "distance": "Dot"}})[0] == 200
        assert SERVER.request("PUT", "/collections/mx/points?wait=true", {"points": points})[0] == 200

    def test_retrieve(self):
        body = {"ids": [7, 99, 4, 1], "with_vector": ["a"]}
        _, (vectors, ids), _ = self.arrays("/collections/mx/points", body)
        self.assertEqual((vectors.dtype.str, ids.dtype.str, ids.tolist()), ("<f4", "<u8", [7, 4, 1]))
        self.assertEqual(vectors[[0, 2]].tolist(), [[7, 1, -1.75], [1, 1, -0.25]])
        self.assertTrue(np.isnan(vectors[1]).all())
        _, (vectors, ids), _ = self.arrays("/collections/mx/points", {"ids": [], "with_vector": ["b"]})
        self.assertEqual((vectors.shape, ids.shape), ((0, 2), (0,)))

    def test_query_and_its_json_agree(self):
        path, body = "/collections/mx/points/query", {"query": [1, 0, 0], "using": "a", "limit": 4, "with_vector": ["a"]}
        _, (vectors, ids, scores), headers = self.arrays(path, body, "text/html, application/X-NPY;q=0.9")
        points = self.json(path, body)["points"]
        self.assertEqual(ids.tolist(), [p["id"] for p in points])
        self.assertEqual(scores.tolist(), [p["score"] for p in points])
        self.assertEqual(vectors.tolist(), [p["vector"]["a"] for p in points])
        self.assertIn("Server-Timing", headers)

    def test_scroll_by_pages(self):
        body, got = {"limit": 3, "with_vector": ["b"]}, []
        for _ in range(3):
            _, (vectors, ids), headers = self.arrays("/collections/mx/points/scroll", body)
            got += zip(ids.tolist(), vectors.tolist())
            offset = headers.get("X-Kith-Next-Page-Offset")
            if offset is None:
                break
            body["offset"] = json.loads(offset)
        self.assertEqual(got, [(i, [i, 2]) for i in range(1, 8)])

    def test_uuids(self):
        assert SERVER.request("PUT", "/collections/ux/points?wait=true", {"points": [
            {"id": 5, "vector": [1, 2]}, {"id": UUID, "vector": [3, 4]}]})[0] == 200
        _, (vectors, ids), headers = self.arrays("/collections/ux/points/scroll", {"limit": 1})
        self.assertEqual((ids.tolist(), json.loads(headers["X-Kith-Next-Page-Offset"])), ([5], UUID))
        _, (vectors, ids, scores), _ = self.arrays("/collections/ux/points/query", {"query": [1, 1]})
        self.assertEqual((ids.tolist(), scores.tolist()), ([UUID.encode(), b"5"], [7, 3]))
        self.assertEqual(vectors.tolist(), [[3, 4], [1, 2]])

    def test_refused(self):
        for selector, text in [(True, "are 3: name one"), (["a", "b"], "are 2: name one"), (["s"], "`s` is not dense")]:
            status, error, _ = self.arrays("/collections/mx/points/scroll", {"with_vector": selector})
            self.assertEqual(status, 400)
            self.assertIn(text, error)
        status, error, _ = self.arrays("/collections/nowhere/points/scroll", {})
        self.assertEqual(status, 404)
        status, _, headers = self.arrays("/collections/ux/points/query", {"query": [1, 1, 1]})
        self.assertEqual((status, headers["Content-Type"]), (400, "application/json"))


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
