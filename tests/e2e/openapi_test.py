"""/openapi.json: what is served, whether it is sound, and every operation in it called once. That each
row of the route table is in it and the other way round is tests/unit/openapi_test.c's to say."""
import gzip
import json
import os
import re
import sys
import unittest

from jsonschema import Draft202012Validator

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from contract import ContractError, Contract, load
from kith import Server

SERVER = None
DOCUMENT = load()
KEY = {"api-key": "k"}
CONTRACT = Contract()


def setUpModule():
    global SERVER
    SERVER = Server(environment={"KITH_API_KEY": "k"}).start()


def tearDownModule():
    SERVER.close()


def operations():
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def walk(node, at=""):
    """Every dict of a document with its place."""
    if isinstance(node, dict):
        yield at, node
        for key, value in node.items():
            yield from walk(value, at + "/" + key)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from walk(value, "%s/%d" % (at, i))


class Served(unittest.TestCase):
    def get(self, headers=None):
        connection = SERVER.connection()
        connection.request("GET", "/openapi.json", headers=headers or {})
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        return reply.status, dict((k.lower(), v) for k, v in reply.getheaders()), data

    def test_it_is_the_file_and_needs_no_key(self):
        status, headers, data = self.get()
        self.assertEqual((status, headers["content-type"]), (200, "application/json"))
        self.assertEqual(json.loads(data), DOCUMENT)
        self.assertNotIn("content-encoding", headers)

    def test_gzip_for_those_who_take_it(self):
        plain = self.get()[2]
        for accept, packed in [("gzip", True), ("deflate, GZIP;q=0.5", True), ("br, gzip ;q=1", True), ("gzip;q=0", False),
                               ("gzip;q=0.000", False), ("identity", False), ("x-gzipped", False), ("", False)]:
            status, headers, data = self.get({"Accept-Encoding": accept})
            self.assertEqual((status, headers.get("content-encoding")), (200, "gzip" if packed else None), accept)
            self.assertEqual(gzip.decompress(data) if packed else data, plain)
            self.assertEqual(headers["vary"], "Accept-Encoding")

    def test_the_tag(self):
        tag = self.get()[1]["etag"]
        self.assertRegex(tag, r'^W/"[0-9a-f]{8}"$')
        for given in (tag, tag[2:], '"other", ' + tag, "*"):
            status, headers, data = self.get({"If-None-Match": given})
            self.assertEqual((status, data, headers["etag"]), (304, b"", tag))
            self.assertNotIn("content-length", headers)
        self.assertEqual(self.get({"If-None-Match": 'W/"00000000"'})[0], 200)


class Sound(unittest.TestCase):
    """What the OpenAPI 3.1 specification asks of a document, as far as ours uses it."""

    def test_top(self):
        self.assertEqual(DOCUMENT["openapi"], "3.1.0")
        self.assertEqual(sorted(DOCUMENT), ["components", "info", "openapi", "paths", "security"])
        self.assertTrue(DOCUMENT["info"]["title"] and DOCUMENT["info"]["version"])
        for need in DOCUMENT["security"]:
            self.assertTrue(set(need) <= set(DOCUMENT["components"]["securitySchemes"]))

    def test_references_lead_somewhere(self):
        used = set()
        for at, node in walk(DOCUMENT):
            if isinstance(node.get("$ref"), str):
                target = DOCUMENT
                for part in node["$ref"].split("/")[1:]:
                    self.assertIn(part, target, at)
                    target = target[part]
                used.add(node["$ref"])
        for kind in ("schemas", "responses"):
            for name in DOCUMENT["components"][kind]:
                self.assertIn("#/components/%s/%s" % (kind, name), used, "nobody uses it")

    def test_schemas_are_schemas(self):
        for name, schema in DOCUMENT["components"]["schemas"].items():
            Draft202012Validator.check_schema(schema)
        for at, node in walk(DOCUMENT["paths"]):
            if "schema" in node:
                Draft202012Validator.check_schema(node["schema"])
        for at, node in walk(DOCUMENT):
            if "required" in node and "properties" in node:
                self.assertTrue(set(node["required"]) <= set(node["properties"]), at)

    def test_operations(self):
        names = set()
        for method, path, operation in operations():
            what = method + " " + path
            self.assertIn(method, ("GET", "PUT", "POST", "PATCH", "DELETE"), what)
            self.assertTrue(set(operation) <= {"operationId", "tags", "summary", "parameters", "responses", "requestBody", "security"}, what)
            self.assertNotIn(operation["operationId"], names)
            names.add(operation["operationId"])
            places = [(p["in"], p["name"]) for p in operation.get("parameters", [])]
            self.assertEqual(len(places), len(set(places)), what)
            self.assertEqual(sorted(n for where, n in places if where == "path"), sorted(re.findall(r"{(\w+)}", path)), what)
            self.assertTrue(operation["responses"], what)
            for status, reply in operation["responses"].items():
                self.assertRegex(status, r"^[2-5]\d\d$", what)
                self.assertTrue("$ref" in reply or reply["description"], what)
            if method in ("GET", "DELETE"):
                self.assertNotIn("requestBody", operation, what)


C = "/collections/{collection_name}"
P = C + "/points"
QUERY = {"query": [1, 1], "limit": 2}
FILTER = {"must": [{"key": "n", "match": {"value": 1}}]}
# A call of every operation that is built: its body and what follows the path.
CALLS = {
    ("GET", "/"): None, ("GET", "/healthz"): None, ("GET", "/livez"): None, ("GET", "/readyz"): None,
    ("GET", "/metrics"): None, ("GET", "/telemetry"): None, ("GET", "/openapi.json"): None, ("GET", "/collections"): None,
    ("GET", "/aliases"): None, ("GET", "/cluster"): None, ("GET", "/issues"): None, ("DELETE", "/issues"): None, ("GET", "/quotas"): None,
    ("PUT", "/quotas"): {"enabled": False},
    ("PUT", C): {"vectors": {"size": 2, "distance": "Dot"}}, ("GET", C): None, ("PATCH", C): {"metadata": {"a": 1}}, ("DELETE", C): None,
    ("GET", C + "/exists"): None, ("GET", C + "/optimizations"): None, ("GET", C + "/aliases"): None,
    ("POST", "/collections/aliases"): {"actions": [{"create_alias": {"collection_name": "c", "alias_name": "a"}}]},
    ("PUT", C + "/index"): {"field_name": "n", "field_schema": "integer"}, ("DELETE", C + "/index/{field_name}"): None,
    ("POST", C + "/compact"): None, ("PUT", C + "/vectors/{vector_name}"): {"sparse": {}}, ("DELETE", C + "/vectors/{vector_name}"): None,
    ("POST", C + "/bulk"): b'{"id": 9, "vector": [1, 2]}\n',
    ("PUT", P): {"points": [{"id": 5, "vector": [1, 2]}]}, ("POST", P): {"ids": [1]}, ("GET", P + "/{id}"): None,
    ("POST", P + "/delete"): {"points": [3]}, ("POST", P + "/scroll"): {"limit": 2}, ("POST", P + "/count"): {"exact": True},
    ("POST", C + "/facet"): {"key": "n"}, ("GET", C + "/recall"): None,
    ("POST", C + "/recall"): {"searches": [QUERY]}, ("GET", C + "/export"): None, ("POST", C + "/export"): {"filter": FILTER},
    ("POST", P + "/payload"): {"payload": {"a": 1}, "points": [1]}, ("PUT", P + "/payload"): {"payload": {"n": 1}, "points": [1]},
    ("POST", P + "/payload/delete"): {"keys": ["a"], "points": [1]}, ("POST", P + "/payload/clear"): {"points": [4]},
    ("PUT", P + "/vectors"): {"points": [{"id": 1, "vector": [2, 2]}]}, ("POST", P + "/vectors/delete"): {"vector": [""], "points": [4]},
    ("POST", P + "/batch"): {"operations": [{"delete": {"points": [4]}}]},
    ("POST", P + "/query"): QUERY, ("POST", P + "/query/batch"): {"searches": [QUERY]},
    ("POST", P + "/query/groups"): {"query": [1, 1], "group_by": "n"},
    ("POST", P + "/search"): {"vector": [1, 1], "limit": 2, "filter": FILTER}, ("POST", P + "/search/batch"): {"searches": [{"vector": [1, 1], "limit": 1}]},
    ("POST", P + "/search/groups"): {"vector": [1, 1], "group_by": "n", "limit": 1, "group_size": 1},
    ("POST", P + "/search/matrix/pairs"): {"sample": 2}, ("POST", P + "/search/matrix/offsets"): {"sample": 2},
    ("POST", P + "/recommend"): {"positive": [1], "limit": 1}, ("POST", P + "/recommend/batch"): {"searches": [{"positive": [1], "limit": 1}]},
    ("POST", P + "/recommend/groups"): {"positive": [1], "group_by": "n", "limit": 1, "group_size": 1},
    ("POST", P + "/discover"): {"target": 1, "context": [{"positive": 1, "negative": 2}], "limit": 1},
    ("POST", P + "/discover/batch"): {"searches": [{"target": 1, "context": [{"positive": 1, "negative": 2}], "limit": 1}]},
}


class Called(unittest.TestCase):
    """Through the checked helper, so the reply is compared with the document as well."""

    def setUp(self):
        self.call("DELETE", "/collections/c")
        self.call("DELETE", "/collections/fresh")
        self.call("PUT", "/collections/c", CALLS["PUT", C])
        self.call("PUT", "/collections/c/points?wait=true",
                  {"points": [{"id": i, "vector": [i, 1], "payload": {"n": i % 2}} for i in range(1, 5)]})

    def call(self, method, path, body=None, headers=KEY):
        return SERVER.request(method, path, body, headers, raw=True)

    def path(self, method, pattern, name="c"):
        name = "fresh" if (method, pattern) == ("PUT", C) else name
        return re.sub(r"{\w+}", "1", pattern.replace("{collection_name}", name).replace("{field_name}", "n"))

    def test_every_operation_answers_as_it_says(self):
        for method, pattern, operation in operations():
            with self.subTest(method=method, path=pattern):
                self.setUp()
                refused = set(operation["responses"]) & {"501", "405"}
                headers = dict(KEY)
                if "200" in operation["responses"]:
                    self.assertIn((method, pattern), CALLS, "call it here")
                    body = CALLS[method, pattern]
                    if "facet" in pattern or "index" in pattern:
                        self.call("PUT", "/collections/c/index?wait=true", CALLS["PUT", C + "/index"])
                    if (method, pattern) == ("DELETE", C + "/vectors/{vector_name}"):
                        self.call("PUT", "/collections/c/vectors/1", CALLS["PUT", pattern])
                    if isinstance(body, bytes):
                        headers["Content-Type"] = "application/x-ndjson"
                    status, data = self.call(method, self.path(method, pattern), body, headers)
                    self.assertEqual(status, 200, data)
                else:
                    self.assertEqual(len(refused), 1)
                    status, data = self.call(method, self.path(method, pattern))
                    self.assertEqual([str(status)], list(refused), data)

    def test_every_operation_asks_for_its_key(self):
        for method, pattern, operation in operations():
            with self.subTest(method=method, path=pattern):
                status = self.call(method, self.path(method, pattern), None, {})[0]
                self.assertEqual(status == 401, "401" in operation["responses"])

    def test_errors_are_the_documented_ones(self):
        """A body that is no JSON, a collection that is not there: on every operation that has either."""
        for method, pattern, operation in operations():
            if "200" not in operation["responses"]:
                continue
            path = self.path(method, pattern)
            with self.subTest(method=method, path=pattern):
                if "application/json" in operation.get("requestBody", {}).get("content", {}):
                    for body in (b"{", b"[]", b'{"a": nonsense}'):
                        self.assertEqual(self.call(method, path, body)[0], 400, (path, body))
                    self.assertEqual(self.call(method, path, b"{}", dict(KEY, **{"Content-Type": "text/plain"}))[0], 415)
                if pattern.startswith(C + "/") and "exists" not in pattern:
                    headers = dict(KEY, **({"Content-Type": "application/x-ndjson"} if "bulk" in pattern else {}))
                    status = self.call(method, self.path(method, pattern, "none"), CALLS[method, pattern], headers)[0]
                    self.assertEqual(status, 404, path)
                if "timeout" in [p["name"] for p in operation.get("parameters", [])]:
                    self.assertEqual(self.call(method, path + "?timeout=0", CALLS[method, pattern])[0], 422, path)


class Fields(Called):
    """Every field of every request, given what the document says is wrong, and what nobody knows."""
    values = [0, -1, 1.5, 1 << 70, "", "x", True, [], [5], [[]], ["x"], {}, [None]]
    test_every_operation_answers_as_it_says = test_every_operation_asks_for_its_key = test_errors_are_the_documented_ones = None

    def valid(self, schema, value):
        return Draft202012Validator(schema, resolver=CONTRACT.replies).is_valid(value)

    def writes(self, method, pattern):
        return "403" in DOCUMENT["paths"][pattern][method.lower()]["responses"]

    def prepare(self, method, pattern):
        if self.writes(method, pattern):
            self.setUp()
        if "facet" in pattern:
            self.call("PUT", "/collections/c/index?wait=true", CALLS["PUT", C + "/index"])

    def fields(self, schema):
        """name -> its schemas, at the top of a request."""
        schema = CONTRACT.resolve(schema)
        out = {}
        for variant in schema.get("anyOf", [schema]):
            for name, inner in CONTRACT.resolve(variant).get("properties", {}).items():
                out.setdefault(name, []).append(inner)
        return out

    def required(self, schema):
        """Fields that are required at the top, or by every variant that has them."""
        schema = CONTRACT.resolve(schema)
        variants = [CONTRACT.resolve(variant) for variant in schema.get("anyOf", [schema])]
        names = {name for variant in variants for name in variant.get("properties", {})}
        return set(schema.get("required", [])) | {
            name for name in names if all(name in v.get("required", []) for v in variants if name in v.get("properties", {}))}

    def requests(self):
        for method, pattern, operation in operations():
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            if schema is not None and "200" in operation["responses"]:
                yield method, pattern, schema, dict(CALLS[method, pattern])

    def test_wrong_values_are_refused(self):
        for method, pattern, schema, body in self.requests():
            for name, inner in self.fields(schema).items():
                for value in self.values:
                    fits = any(self.valid(one, value) for one in inner)
                    with self.subTest(method=method, path=pattern, field=name, value=value):
                        status, data = self.call(method, self.path(method, pattern), dict(body, **{name: value}))
                        self.assertIn(status, (200, 400, 404, 409, 422) if fits else (400, 422), data)
                    if status == 200 and self.writes(method, pattern):
                        self.setUp()

    def test_null_is_as_good_as_absent(self):
        for method, pattern, schema, body in self.requests():
            for name, inner in self.fields(schema).items():
                spelled_twice = name == "top" or name == "field_type"
                if name not in body and not spelled_twice and name not in self.required(schema):
                    with self.subTest(method=method, path=pattern, field=name):
                        self.prepare(method, pattern)
                        status, data = self.call(method, self.path(method, pattern), dict(body, **{name: None}))
                        self.assertEqual(status, 200, data)

    def test_unknown_fields_are_ignored(self):
        for method, pattern, schema, body in self.requests():
            with self.subTest(method=method, path=pattern):
                self.prepare(method, pattern)
                body = json.dumps(dict(body, nobody_knows={"this": [1]})).encode()
                connection = SERVER.connection()  # past the check, which would not know it either
                connection.request(method, self.path(method, pattern), body, dict(KEY, **{"Content-Type": "application/json"}))
                reply = connection.getresponse()
                data = reply.read()
                connection.close()
                self.assertEqual(reply.status, 200, data)

    def test_huge_limits_cost_nothing(self):
        before = SERVER.memory()[0]
        for method, pattern, schema, body in self.requests():
            for name in sorted({"limit", "top", "group_size", "sample", "offset"} & set(self.fields(schema))):
                with self.subTest(method=method, path=pattern, field=name):
                    if name == "offset" and "scroll" in pattern:
                        continue  # an id there
                    self.prepare(method, pattern)
                    body = {k: v for k, v in body.items() if not (name == "top" and k == "limit")}
                    status, data = self.call(method, self.path(method, pattern), dict(body, **{name: 999999999}))
                    self.assertEqual(status, 200, data)
        self.assertLess(SERVER.memory()[0] - before, 64 << 20)


class Checker(unittest.TestCase):
    """The check itself can fail."""

    def refused(self, *exchange):
        with self.assertRaises(ContractError):
            Contract().check(*exchange)

    def test_it(self):
        ok = b'{"result":{"exists":true},"status":"ok","time":0.1}'
        json_type = "application/json"
        Contract().check("GET", "/collections/c/exists", None, None, 200, json_type, ok)
        self.refused("GET", "/collections/c/exists", None, None, 200, json_type, ok.replace(b"true", b"1"))
        self.refused("GET", "/collections/c/exists", None, None, 200, json_type, ok.replace(b'"time"', b'"more"'))
        self.refused("GET", "/collections/c/exists", None, None, 200, "text/plain", ok)
        self.refused("GET", "/collections/c/exists", None, None, 201, json_type, ok)
        self.refused("GET", "/collections/c/exists?x=1", None, None, 200, json_type, ok)
        self.refused("GET", "/collections/c/exist", None, None, 200, json_type, ok)
        count = b'{"result":{"count":1},"status":"ok","time":0.1}'
        Contract().check("POST", "/collections/c/points/count", b'{"exact":null}', json_type, 200, json_type, count)
        self.refused("POST", "/collections/c/points/count", b'{"exakt":true}', json_type, 200, json_type, count)
        self.refused("POST", "/collections/c/points/count", b'{"exact":1}', json_type, 200, json_type, count)
        wrong = b'{"status":{"error":"Nonsense: x"},"time":0.1}'
        self.refused("POST", "/collections/c/points/count", b"{}", json_type, 400, json_type, wrong)
        self.refused("POST", "/collections/c/points/count", b"{}", json_type, 409, json_type, wrong)


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
