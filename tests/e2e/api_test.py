"""Every built route, every status and text a client may compare, every bad body: over HTTP."""
import gzip
import io
import json
import os
import struct
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server

SERVER = None


def setUpModule():
    global SERVER
    SERVER = Server(config={"http.body_bytes_max": 1 << 20}).start()


def tearDownModule():
    SERVER.close()


def npy(array, fortran=False, descr=None, shape=None, tail=b""):
    """NPY bytes with a header that may lie."""
    descr, shape = descr or array.dtype.str, shape or array.shape
    header = "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, fortran, shape)
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + array.tobytes() + tail


class Case(unittest.TestCase):
    collection = "/collections/c"

    def setUp(self):
        self.ok("DELETE", self.collection)
        self.ok("PUT", self.collection, {"vectors": {"size": 4, "distance": "Dot"}})
        self.put([{"id": i, "vector": [i, 1, 0, 0], "payload": {"n": i, "s": {"t": [i]}}}
                  for i in range(1, 6)])

    def call(self, *args, **kw):
        return SERVER.request(*args, **kw)

    def ok(self, *args, **kw):
        return SERVER.result(*args, **kw)

    def put(self, points):
        return self.ok("PUT", self.collection + "/points?wait=true", {"points": points})

    def refused(self, expected, text, method, path, body=None, headers=None):
        status, reply = self.call(method, path, body, headers)
        self.assertEqual(status, expected, reply)
        self.assertIn(text, reply["status"]["error"])
        self.assertIn("time", reply)
        self.assertNotIn("result", reply)

    def unchanged(self):
        self.assertEqual(self.ok("POST", self.collection + "/points/count", {})["count"], 5)


class Service(Case):
    def test_root_and_health(self):
        status, root = self.call("GET", "/")
        self.assertEqual(status, 200)
        self.assertEqual(sorted(root), ["commit", "title", "version"])
        self.assertEqual(root["title"], "qdrant - vector search engine")
        self.assertRegex(root["version"], r"^1\.19\.\d+$")
        self.assertEqual(len(root["commit"]), 40)
        for path, text in [("/healthz", b"healthz check passed"), ("/livez", b"healthz check passed"),
                           ("/readyz", b"all shards are ready")]:
            self.assertEqual(self.call("GET", path, raw=True), (200, text))

    def test_slashes_and_unknown_query_parameters(self):
        self.assertEqual(self.call("GET", "//collections///c/?nonsense=1")[0], 200)

    def test_unknown_route(self):
        self.assertEqual(self.call("GET", "/nothing", raw=True)[0], 404)

    def test_wrong_method(self):
        self.assertEqual(self.call("PATCH", "/collections/c/points", {}, raw=True)[0], 405)

    def test_known_but_unbuilt_routes_say_so(self):
        for method, path in [("GET", "/collections/c/snapshots"),
                             ("POST", "/collections/c/snapshots")]:
            status, reply = self.call(method, path, {} if method != "GET" else None)
            self.assertEqual(status, 501, (method, path, reply))
            self.assertIn(path.split("/")[-1].replace("c", "", 0), reply["status"]["error"])

    def test_query_parameters(self):
        bad = "Deserialize error in query parameters"
        self.refused(400, bad, "PUT", "/collections/c/points?wait=maybe", {"points": []})
        self.refused(422, "timeout: value 0 invalid", "POST", "/collections/c/points/query?timeout=0", {})
        self.refused(400, bad, "PUT", "/collections/c/points?ordering=loud", {"points": []})
        self.refused(400, bad + ": duplicate field `wait`", "PUT",
                     "/collections/c/points?wait=true&a=1&w%61it=false", {"points": []})
        self.refused(400, bad + ": more than 64", "GET",
                     "/collections/c?" + "&".join("p%d=" % i for i in range(65)))

    def test_content_type_and_json(self):
        path = "/collections/c/points/query"
        self.assertEqual(self.call("POST", path, b"{}", {"Content-Type": "text/plain"}, raw=True)[0], 415)
        for body in [b"{", b"{]", b"nope", b"", b"{\"query\": [01]}", b"{\"limit\": 1} x", b"\xff\xfe"]:
            status, reply = self.call("POST", path, body or b" ", {"Content-Type": "application/json"})
            if body:
                self.assertEqual(status, 400, (body, reply))
                self.assertIn("Format error in JSON body: ", reply["status"]["error"])
        deep = b'{"query":' + b"[" * 5000 + b"]" * 5000 + b"}"
        self.assertEqual(self.call("POST", path, deep)[0], 400)

    def test_body_too_large(self):
        self.refused(413, "http.body_bytes_max", "PUT", "/collections/c/points", b" " * (2 << 20))


class Collections(Case):
    def test_list_exists_info(self):
        self.assertIn({"name": "c"}, self.ok("GET", "/collections")["collections"])
        self.assertEqual(self.ok("GET", "/collections/c/exists"), {"exists": True})
        self.assertEqual(self.ok("GET", "/collections/none/exists"), {"exists": False})
        info = self.ok("GET", "/collections/c")
        self.assertEqual((info["status"], info["optimizer_status"], info["points_count"],
                          info["indexed_vectors_count"]), ("green", "ok", 5, 5))
        self.assertEqual(info["config"]["params"]["vectors"], {"size": 4, "distance": "Dot"})
        self.assertEqual(info["payload_schema"], {})
        self.assertEqual(info["config"]["hnsw_config"]["m"], 16)

    def test_missing(self):
        text = "Not found: Collection `none` doesn't exist!"
        self.refused(404, text, "GET", "/collections/none")
        self.refused(404, text, "POST", "/collections/none/points/query", {"query": [1]})
        self.refused(404, text, "PUT", "/collections/none/points", {"points": [{"id": 1, "vector": [1]}]})
        self.assertIs(self.ok("DELETE", "/collections/none"), False)

    def test_exists_already(self):
        self.refused(409, "Wrong input: Collection `c` already exists!", "PUT", "/collections/c",
                     {"vectors": {"size": 4, "distance": "Dot"}})

    def test_default_vector_by_its_empty_name(self):
        self.ok("DELETE", "/collections/empty")
        self.ok("PUT", "/collections/empty", {"vectors": {"": {"size": 2, "distance": "Cosine"}},
                                              "sparse_vectors": {}})
        params = self.ok("GET", "/collections/empty")["config"]["params"]
        self.assertEqual(params["vectors"], {"": {"size": 2, "distance": "Cosine"}})
        self.ok("PUT", "/collections/empty/points?wait=true",
                {"points": [{"id": 1, "vector": {"": [3.0, 4.0]}}]})
        point = self.ok("GET", "/collections/empty/points/1")
        self.assertEqual(point["vector"], [0.6, 0.8])

    def test_settings_are_validated_and_echoed(self):
        self.ok("DELETE", "/collections/s")
        body = {"vectors": {"size": 3, "distance": "Euclid", "on_disk": True}, "shard_number": 1,
                "replication_factor": 2, "hnsw_config": {"m": 32, "ef_construct": 64},
                "optimizers_config": {"indexing_threshold": 7}, "on_disk_payload": True}
        self.ok("PUT", "/collections/s", body)
        config = self.ok("GET", "/collections/s")["config"]
        self.assertEqual(config["hnsw_config"]["m"], 32)
        self.assertEqual(config["optimizer_config"]["indexing_threshold"], 7)
        self.assertEqual(config["params"]["vectors"]["on_disk"], True)

    def test_bad_settings(self):
        put = ("PUT", "/collections/bad")
        self.refused(422, "vectors.size: value 0 invalid", *put, {"vectors": {"size": 0, "distance": "Dot"}})
        self.refused(422, "Validation error in JSON body: [vectors.size: value 65537 invalid, must be "
                          "from 1 to 65536]", *put, {"vectors": {"size": 65537, "distance": "Dot"}})
        self.refused(400, "Format error in JSON body", *put, {"vectors": {"size": 4, "distance": "Far"}})
        self.refused(400, "Format error in JSON body", *put, {"vectors": {"distance": "Dot"}})
        self.refused(400, "Format error in JSON body", *put, {"vectors": {"size": -4, "distance": "Dot"}})
        for name in ["a%3Ab", "a%2Ab", "a%22", "x" * 256]:
            self.assertIn(self.call("PUT", "/collections/" + name,
                                    {"vectors": {"size": 4, "distance": "Dot"}})[0], (400, 422), name)
        for vectors in [{"a": {"size": 4, "distance": "Dot", "datatype": "float8"}},
                        {"size": 4, "distance": "Dot", "datatype": "float8"},
                        {"size": 4, "distance": "Dot", "multivector_config": {"comparator": "min_sim"}}]:
            self.assertEqual(self.call(*put, {"vectors": vectors})[0], 400, vectors)
        self.assertEqual(self.ok("GET", "/collections/bad/exists"), {"exists": False})


class Points(Case):
    def test_update_result(self):
        path = "/collections/c/points"
        body = {"points": [{"id": 1, "vector": [1, 2, 3, 4]}]}
        done = self.ok("PUT", path + "?wait=true", body)
        self.assertEqual(done["status"], "completed")
        self.assertIsInstance(done["operation_id"], int)
        self.assertEqual(self.ok("PUT", path, body)["status"], "acknowledged")
        # Replaced as a whole: the payload is gone.
        self.assertEqual(self.ok("GET", path + "/1")["payload"], {})

    def test_ids(self):
        u = "7A57D35B-3AE1-4A5E-9B0C-0123456789AB"
        low = u.lower()
        self.put([{"id": 18446744073709551615, "vector": [1, 1, 1, 1]}, {"id": u, "vector": [1, 1, 1, 2]}])
        self.assertEqual(self.ok("GET", "/collections/c/points/18446744073709551615")["id"], (1 << 64) - 1)
        for spelling in [u, low.replace("-", ""), "urn:uuid:" + low, "{%s}" % low]:
            got = self.ok("POST", "/collections/c/points", {"ids": [spelling]})
            self.assertEqual([p["id"] for p in got], [low], spelling)
        text = "is not a valid point ID, valid values are either an unsigned integer or a UUID"
        for bad in [-1, 1.5, "12", "", "zz", 18446744073709551616, True, None, [1]]:
            status, reply = self.call("PUT", "/collections/c/points",
                                      {"points": [{"id": bad, "vector": [1, 1, 1, 1]}]})
            self.assertEqual(status, 400, (bad, reply))
            self.assertIn(text, reply["status"]["error"]) if bad in (-1, "12", "zz") else None
        order = [p["id"] for p in self.ok("POST", "/collections/c/points/scroll", {"limit": 100})["points"]]
        self.assertEqual(order, [1, 2, 3, 4, 5, (1 << 64) - 1, low])

    def test_bad_points_change_nothing(self):
        good = {"id": 77, "vector": [1, 1, 1, 1]}
        dim = "Wrong input: Vector dimension error: expected dim: 4, got 3"
        cases = [([good, {"id": 1, "vector": [1, 2, 3]}], dim),
                 ([good, {"id": 1, "vector": {"other": [1, 2, 3, 4]}}],
                  "Wrong input: Not existing vector name error: other"),
                 ([good, {"id": 1, "vector": []}], ""),
                 ([good, {"id": 1, "vector": [1, 2, 3, "x"]}], "Format error in JSON body"),
                 ([good, {"id": 1}], "vector"), ([good, {"vector": [1, 2, 3, 4]}], "id"),
                 ([good, {"id": 1, "vector": [1, 2, 3, 4], "payload": [1]}], "payload"), ("x", "points")]
        for points, text in cases:
            for wait in ("true", "false"):
                status, reply = self.call("PUT", "/collections/c/points?wait=" + wait, {"points": points})
                self.assertIn(status, (400, 422), (points, reply))
                self.assertIn(text, reply["status"]["error"], points)
        raw = b'{"points":[{"id":77,"vector":[1,1,1,1]},{"id":1,"vector":[1,2,3,%s]}]}'
        for number in [b"NaN", b"Infinity", b"1e39", b"-1e39", b"1e999", b"0x1", b"01", b"+1", b".5", b"1."]:
            status, reply = self.call("PUT", "/collections/c/points", raw % number)
            self.assertEqual(status, 400, (number, reply))
        for twice in [b'{"points":[{"id":1,"id":2,"vector":[1,1,1,1]}]}',
                      b'{"points":[{"id":1,"vector":[1,1,1,1],"payload":{"a":1,"a":2}}]}']:
            self.assertEqual(self.call("PUT", "/collections/c/points", twice)[0], 400, twice)
        self.unchanged()

    def test_unbuilt_fields_are_refused(self):
        points = [{"id": 1, "vector": [1, 1, 1, 1]}]
        for extra in [{"shard_key": "a"}]:
            self.assertEqual(self.call("PUT", "/collections/c/points", dict({"points": points}, **extra))[0],
                             400, extra)
        for body in [{"query": {"fusion": "rrf"}}, {"query": {"relevance_feedback": {}}}, {"query": 1, "shard_key": "a"},
                     {"prefetch": {"query": [1, 1, 1, 1]}}, {"query": [1, 1, 1, 1], "using": "x"},
                     {"query": {"order_by": "n"}}]:
            self.assertEqual(self.call("POST", "/collections/c/points/query", body)[0], 400, body)

    def test_column_form(self):
        body = {"batch": {"ids": [10, 11], "vectors": [[1, 0, 0, 0], [0, 1, 0, 0]],
                          "payloads": [{"k": 1.0}, None]}}
        self.ok("PUT", "/collections/c/points?wait=true", body)
        got = self.ok("POST", "/collections/c/points", {"ids": [11, 10, 404], "with_vector": True})
        self.assertEqual([p["id"] for p in got], [11, 10])
        self.assertEqual(got[1]["payload"], {"k": 1.0})
        bad = {"batch": {"ids": [1, 2], "vectors": [[1, 0, 0, 0]]}}
        self.assertIn(self.call("PUT", "/collections/c/points", bad)[0], (400, 422))

    def test_payload_comes_back_as_it_was(self):
        payload = b'{"a":10.0,"b":1e2,"c":18446744073709551615,"d":-0.0,"e":"\\u0000\\ud83d\\ude00","f":{"":[]}}'
        self.call("PUT", "/collections/c/points?wait=true",
                  b'{"points":[{"id":1,"vector":[1,1,1,1],"payload":' + payload + b"}]}")
        raw = self.call("GET", "/collections/c/points/1", raw=True)[1]
        for piece in [b'"a":10.0', b'"c":18446744073709551615', b'"f":{"":[]}']:
            self.assertIn(piece, raw)
        self.assertEqual(json.loads(raw)["result"]["payload"], json.loads(payload))

    def test_floats_come_back_as_sent(self):
        sent = [0.19, 1e-7, 123456.7, 9.2e18]
        self.put([{"id": 9, "vector": sent}])
        raw = self.call("GET", "/collections/c/points/9", raw=True)[1]
        self.assertIn(b"0.19,", raw)
        back = json.loads(raw)["result"]["vector"]
        self.assertTrue(np.array_equal(np.array(back, np.float32), np.array(sent, np.float32)))

    def test_get_and_retrieve(self):
        self.refused(404, "Not found: Point with id 99 does not exists!", "GET", "/collections/c/points/99")
        self.assertEqual(self.call("GET", "/collections/c/points/zz")[0], 400)
        got = self.ok("POST", "/collections/c/points", {"ids": [3]})
        self.assertEqual(got, [{"id": 3, "payload": {"n": 3, "s": {"t": [3]}}}])
        got = self.ok("POST", "/collections/c/points", {"ids": [3], "with_payload": False, "with_vector": True})
        self.assertEqual(got, [{"id": 3, "vector": [3.0, 1.0, 0.0, 0.0]}])
        for selector, payload in [(["s.t"], {"s": {"t": [3]}}), ({"include": ["n"]}, {"n": 3}),
                                  ({"exclude": ["n"]}, {"s": {"t": [3]}}), ([], {})]:
            got = self.ok("POST", "/collections/c/points", {"ids": [3], "with_payload": selector})
            self.assertEqual(got[0]["payload"], payload, selector)
        self.assertEqual(self.call("POST", "/collections/c/points", {})[0], 400)
        self.assertEqual(self.call("POST", "/collections/c/points",
                                   {"ids": [3], "with_payload": {"include": ["n"], "odd": 1}})[0], 400)

    def test_delete(self):
        done = self.ok("POST", "/collections/c/points/delete?wait=true", {"points": [1, 2, 999]})
        self.assertEqual(done["status"], "completed")
        self.assertEqual(self.ok("POST", "/collections/c/points/count", {"exact": True}), {"count": 3})
        self.assertEqual(self.call("POST", "/collections/c/points/delete", {})[0] // 100, 4)

    def test_scroll(self):
        page = self.ok("POST", "/collections/c/points/scroll", {"limit": 2, "with_payload": False})
        self.assertEqual(page, {"points": [{"id": 1}, {"id": 2}], "next_page_offset": 3})
        page = self.ok("POST", "/collections/c/points/scroll", {"limit": 999999999, "offset": 3})
        self.assertEqual([p["id"] for p in page["points"]], [3, 4, 5])
        self.assertIsNone(page["next_page_offset"])
        self.assertEqual(self.call("POST", "/collections/c/points/scroll", {"limit": 0})[0], 422)


class Query(Case):
    path = "/collections/c/points/query"

    def ids(self, body):
        return [p["id"] for p in self.ok("POST", self.path, body)["points"]]

    def test_forms(self):
        for query in [[1, 0, 0, 0], {"nearest": [1, 0, 0, 0]}]:
            points = self.ok("POST", self.path, {"query": query, "limit": 2})["points"]
            self.assertEqual([(p["id"], p["score"]) for p in points], [(5, 5.0), (4, 4.0)])
            self.assertTrue(all(isinstance(p["version"], int) and "payload" not in p for p in points))
        self.assertEqual(self.ids({"query": 5}), [4, 3, 2, 1])
        self.assertEqual(self.ids({"query": {"nearest": 5}, "using": ""}), [4, 3, 2, 1])
        self.refused(404, "Not found: No point with id 99 found", "POST", self.path, {"query": 99})
        self.assertEqual(self.ids({"offset": 1, "limit": 2}), [2, 3])

    def test_limits(self):
        self.assertEqual(len(self.ids({"query": [1, 0, 0, 0], "limit": 999999999})), 5)
        self.assertEqual(self.ids({"query": [1, 0, 0, 0], "offset": 4}), [1])
        self.assertEqual(self.ids({"query": [1, 0, 0, 0], "offset": 999999999}), [])
        self.refused(422, "limit: value 0 invalid, must be 1 or larger", "POST", self.path,
                     {"query": [1, 0, 0, 0], "limit": 0})
        self.assertEqual(self.call("POST", self.path, {"query": [1, 0, 0, 0], "limit": -1})[0], 400)
        self.assertEqual(self.call("POST", self.path, {"query": [1, 0, 0, 0], "params": {"hnsw_ef": 0}})[0], 422)

    def test_threshold_is_strict(self):
        self.assertEqual(self.ids({"query": [1, 0, 0, 0], "score_threshold": 3}), [5, 4])
        self.refused(400, "score_threshold", "POST", self.path, {"score_threshold": 1.0})

    def test_bad_vectors(self):
        self.refused(400, "Wrong input: Vector dimension error: expected dim: 4, got 2", "POST", self.path,
                     {"query": [1, 2]})
        self.assertEqual(self.call("POST", self.path, b'{"query":[1,2,3,1e99]}')[0], 400)

    def test_metrics(self):
        expected = {"Cosine": [1.0, 0.6], "Dot": [3.0, 1.8], "Euclid": [0.0, 2.683281573], "Manhattan": [0.0, 3.6]}
        for metric, scores in expected.items():
            name = "/collections/m" + metric
            self.ok("DELETE", name)
            self.ok("PUT", name, {"vectors": {"size": 2, "distance": metric}})
            second = [1.8, 2.4] if metric in ("Cosine",) else [0.6, 1.2]
            rows = {"Cosine": [[3, 0], [1.8, 2.4]], "Dot": [[3, 0], [1.8, 5]]}.get(metric, [[3, 0], [0.6, 1.2]])
            self.ok("PUT", name + "/points?wait=true",
                    {"points": [{"id": i, "vector": v} for i, v in enumerate(rows)]})
            query = [1, 0] if metric == "Dot" else [3, 0]
            points = self.ok("POST", name + "/points/query", {"query": query})["points"]
            self.assertEqual([p["id"] for p in points], [0, 1], metric)
            np.testing.assert_allclose([p["score"] for p in points], scores, rtol=1e-6, atol=1e-6)

    def test_batch(self):
        searches = [{"query": [1, 0, 0, 0], "limit": 1}, {"query": 5, "limit": 1, "with_payload": True}]
        result = self.ok("POST", self.path + "/batch", {"searches": searches})
        self.assertEqual([[p["id"] for p in r["points"]] for r in result], [[5], [4]])
        searches.append({"query": [1]})
        self.assertEqual(self.call("POST", self.path + "/batch", {"searches": searches})[0], 400)


class Bulk(Case):
    path = "/collections/c/bulk"

    def bulk(self, body, kind="x-npy", query="", encoding=None):
        headers = {"Content-Type": "application/" + kind}
        if encoding:
            headers["Content-Encoding"] = encoding
        return self.call("POST", self.path + query, body, headers)

    def bad(self, expected, text, *args, **kw):
        status, reply = self.bulk(*args, **kw)
        self.assertEqual(status, expected, reply)
        self.assertIn(text, reply["status"]["error"])

    def test_dtypes(self):
        for i, dtype in enumerate(["<f4", "<f8", "<f2", "|u1", "|i1"]):
            rows = np.array([[1, 2, 3, 4], [5, 6, 7, 8]]).astype(dtype)
            status, reply = self.bulk(npy(rows), query="?first_id=%d" % (100 + 10 * i))
            self.assertEqual(status, 200, reply)
            got = self.ok("GET", "/collections/c/points/%d" % (101 + 10 * i))["vector"]
            self.assertEqual(got, [5.0, 6.0, 7.0, 8.0], dtype)

    def test_next_free_id_and_gzip(self):
        rows = np.ones((3, 4), np.float32)
        status, reply = self.bulk(gzip.compress(npy(rows)), encoding="gzip")
        self.assertEqual(status, 200, reply)
        ids = [p["id"] for p in self.ok("POST", "/collections/c/points/scroll", {"limit": 100})["points"]]
        self.assertEqual(ids, [1, 2, 3, 4, 5, 6, 7, 8])

    def test_raw_floats(self):
        rows = np.arange(8, dtype="<f4").reshape(2, 4)
        status, reply = self.bulk(rows.tobytes(), "octet-stream", "?dim=4&first_id=30")
        self.assertEqual(status, 200, reply)
        self.assertEqual(self.ok("GET", "/collections/c/points/31")["vector"], [4.0, 5.0, 6.0, 7.0])
        self.bad(400, "dim=", rows.tobytes(), "octet-stream")
        self.bad(400, "row 1", rows.tobytes()[:-1], "octet-stream", "?dim=4&first_id=30")

    def test_ndjson(self):
        lines = b'{"id":10,"vector":[1,2,3,4],"payload":{"a":1}}\n\n{"id":11,"vector":[1,2,3,4]}'
        status, reply = self.bulk(lines, "x-ndjson")
        self.assertEqual(status, 200, reply)
        self.assertEqual(self.ok("GET", "/collections/c/points/10")["payload"], {"a": 1})

    def test_first_bad_line_is_named_and_what_came_before_is_kept(self):
        lines = b'{"id":10,"vector":[1,2,3,4]}\n{"id":11,"vector":[1,2,3]}\n{"id":12,"vector":[1,2,3,4]}\n'
        self.bad(400, "line 2", lines, "x-ndjson")
        self.assertEqual(self.call("GET", "/collections/c/points/10")[0], 200)
        self.assertEqual(self.call("GET", "/collections/c/points/12")[0], 404)
        self.bad(400, "line 1", b'{"id":10,"vector":[1,2', "x-ndjson")

    def test_bad_npy(self):
        rows = np.ones((3, 4), np.float32)
        self.bad(400, "Fortran", npy(rows, fortran=True))
        self.bad(400, "column 1", npy(np.array([[1, 1e300, 0, 0]])), query="?first_id=40")
        self.bad(400, "<c8", npy(rows.astype(np.complex64)))
        self.bad(400, "", npy(rows)[:40])
        self.bad(400, "", b"PK\x03\x04 not numpy at all, really not, but long enough for a header")
        self.bad(400, "dimension", npy(np.ones((3, 5), np.float32)))
        self.bad(400, "", npy(np.ones(4, np.float32)))
        self.unchanged()
        self.bad(400, "", npy(rows, tail=b"more"), query="?first_id=70")
        nan = rows.copy()
        nan[1, 2] = np.nan
        self.bad(400, "row 1", npy(nan), query="?first_id=50")
        self.bad(400, "", npy(rows, shape=(5, 4)), query="?first_id=60")

    def test_bad_gzip_and_types(self):
        packed = gzip.compress(npy(np.ones((100, 4), np.float32)))
        self.bad(400, "", packed[:-12], encoding="gzip")
        self.bad(400, "", b"not gzip at all", encoding="gzip")
        bomb = gzip.compress(npy(np.zeros((4 << 20, 4), np.float32)))
        self.bad(413, "", bomb, encoding="gzip", query="?first_id=1000000")
        self.bad(415, "", b"1,2,3,4\n", "csv")
        self.assertEqual(self.bulk(b"x", encoding="br")[0], 415)

    def test_creates_what_is_missing(self):
        self.ok("DELETE", "/collections/made")
        body, kind = npy(np.ones((2, 7), np.float32)), {"Content-Type": "application/x-npy"}
        self.assertEqual(self.call("POST", "/collections/made/bulk", body, kind)[0], 404)
        self.assertEqual(self.call("POST", "/collections/made/bulk?distance=Euclid", body, kind)[0], 200)
        vectors = self.ok("GET", "/collections/made")["config"]["params"]["vectors"]
        self.assertEqual(vectors, {"size": 7, "distance": "Euclid"})
        self.assertEqual(self.call("POST", "/collections/made/bulk?distance=Far", body, kind)[0], 400)


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
