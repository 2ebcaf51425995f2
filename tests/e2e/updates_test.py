"""Changes to points that are there: payload updates, conditions, deletes by filter, batches; with
every status and text, and random updates against a model in Python."""
import copy
import json
import os
import random
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server, verify

SERVER = None
UUID = "550e8400-e29b-41d4-a716-446655440000"


def setUpModule():
    global SERVER
    SERVER = Server().start()


def tearDownModule():
    SERVER.close()


def match(key, value):
    return {"must": [{"key": key, "match": {"value": value}}]}


class Case(unittest.TestCase):
    points = "/collections/u/points"

    def setUp(self):
        self.ok("DELETE", "/collections/u")
        self.ok("PUT", "/collections/u", {"vectors": {"size": 2, "distance": "Dot"}})
        self.put([{"id": i, "vector": [i, 1], "payload": {"n": i, "even": i % 2 == 0, "s": {"t": [i]}}}
                  for i in range(1, 6)] + [{"id": UUID, "vector": [0, 0]}])

    def ok(self, method, path, body=None):
        return SERVER.result(method, path, body)

    def put(self, points, **more):
        return self.ok("PUT", self.points + "?wait=true", dict({"points": points}, **more))

    def update(self, method, path, body, wait="true"):
        result = self.ok(method, self.points + path + "?wait=" + wait, body)
        self.assertEqual(result["status"], "completed" if wait == "true" else "acknowledged")
        self.assertIsInstance(result["operation_id"], int)
        return result

    def refused(self, expected, text, method, path, body):
        status, reply = SERVER.request(method, self.points + path + "?wait=true", body)
        self.assertEqual((status, reply.get("result")), (expected, None), reply)
        self.assertIn(text, reply["status"]["error"])

    def payload(self, id):
        return self.ok("GET", self.points + "/" + str(id))["payload"]

    def ids(self):
        return [p["id"] for p in self.ok("POST", self.points + "/scroll", {"limit": 100})["points"]]


class Payload(Case):
    def test_set_merges(self):
        self.update("POST", "/payload", {"payload": {"n": 9, "new": 10.0, "even": None}, "points": [1, UUID]})
        self.assertEqual(self.payload(1), {"n": 9, "s": {"t": [1]}, "new": 10.0})
        self.assertEqual(self.payload(UUID), {"n": 9, "new": 10.0})
        self.assertEqual(self.payload(2)["n"], 2)
        raw = SERVER.request("GET", self.points + "/1", raw=True)[1]
        self.assertIn(b'"new":10.0', raw)

    def test_set_keeps_vector_slot_and_moves_version(self):
        before = self.ok("POST", self.points + "/query", {"query": [1, 1], "with_vector": True, "limit": 9})
        done = self.update("POST", "/payload", {"payload": {"x": 1}, "points": [4]})
        after = self.ok("POST", self.points + "/query", {"query": [1, 1], "with_vector": True, "limit": 9})
        self.assertEqual([(p["id"], p["vector"], p["score"]) for p in before["points"]],
                         [(p["id"], p["vector"], p["score"]) for p in after["points"]])
        versions = {p["id"]: p["version"] for p in after["points"]}
        self.assertEqual(versions[4], done["operation_id"])
        self.assertLess(versions[3], done["operation_id"])

    def test_set_at_a_key(self):
        self.update("POST", "/payload", {"payload": {"u": 1}, "points": [1], "key": "s"})
        self.update("POST", "/payload", {"payload": {"v": 2}, "points": [1], "key": "s.deep.er"})
        self.update("POST", "/payload", {"payload": {"w": 3}, "points": [1], "key": "s.t[0]"})
        self.assertEqual(self.payload(1)["s"], {"t": [{"w": 3}], "u": 1, "deep": {"er": {"v": 2}}})

    def test_overwrite(self):
        self.update("PUT", "/payload", {"payload": {"only": [None]}, "points": [1, 2]})
        self.assertEqual(self.payload(1), {"only": [None]})
        self.update("PUT", "/payload", {"payload": {}, "points": [1]})
        self.assertEqual(self.payload(1), {})

    def test_delete_keys(self):
        self.update("POST", "/payload/delete", {"keys": ["n", "s.t[]", "no.such"], "points": [1, 3]})
        self.assertEqual(self.payload(1), {"even": False, "s": {"t": []}})
        self.assertEqual(self.payload(3), {"even": False, "s": {"t": []}})
        self.update("POST", "/payload/delete", {"keys": [], "points": [1]})
        self.assertEqual(self.payload(1), {"even": False, "s": {"t": []}})

    def test_clear(self):
        self.update("POST", "/payload/clear", {"points": [1, 2]}, wait="false")
        self.update("POST", "/payload/clear", {"points": [UUID]})
        self.assertEqual([self.payload(i) for i in (1, 2, UUID)], [{}, {}, {}])
        self.assertEqual(self.payload(3)["n"], 3)

    def test_by_filter(self):
        self.update("POST", "/payload", {"payload": {"x": 1}, "filter": match("even", True)})
        self.assertEqual([self.payload(i).get("x") for i in (1, 2, 3, 4, 5)], [None, 1, None, 1, None])
        self.update("PUT", "/payload", {"payload": {"y": 2}, "filter": match("x", 1)})
        self.assertEqual([self.payload(i).get("y") for i in (1, 2, 3, 4, 5)], [None, 2, None, 2, None])
        self.update("POST", "/payload/delete", {"keys": ["y"], "filter": {"must_not": match("n", 5)}})
        self.assertEqual(self.payload(2), {})
        self.update("POST", "/payload/clear", {"filter": {"must": [{"has_id": [5, 77]}]}})
        self.assertEqual([self.payload(i) == {} for i in (1, 2, 3, 4, 5)], [False, True, False, True, True])
        # no constraint at all means every point
        self.update("POST", "/payload/clear", {"filter": {"should": []}})
        self.assertEqual([self.payload(i) for i in self.ids()], [{}] * 6)
        # ids win over a filter
        self.update("POST", "/payload", {"payload": {"z": 1}, "points": [1], "filter": match("n", 2)})
        self.assertEqual(self.payload(1), {"z": 1})

    def test_missing_points(self):
        text = "Not found: No point with id 99 found"
        for method, path, body in [("POST", "/payload", {"payload": {"x": 1}}), ("PUT", "/payload", {"payload": {}}),
                                   ("POST", "/payload/delete", {"keys": ["n"]}), ("POST", "/payload/clear", {}),
                                   ("POST", "/payload/delete", {"keys": []})]:
            self.refused(404, text, method, path, dict(body, points=[99, 1, 98]))
            result = self.ok(method, self.points + path + "?wait=false", dict(body, points=[99]))
            self.assertEqual(result["status"], "acknowledged")
        # the others of the request are changed
        self.assertEqual(self.payload(1), {})
        other = "550e8400-e29b-41d4-a716-446655440001"
        self.refused(404, "No point with id %s found" % other, "POST", "/payload/clear", {"points": [other]})

    def test_refusals(self):
        neither = "Format error in JSON body: Either list of point ids or filter must be provided"
        self.refused(400, neither, "POST", "/payload", {"payload": {"x": 1}})
        self.refused(400, neither, "PUT", "/payload", {"payload": {"x": 1}, "points": None})
        self.refused(400, neither, "POST", "/payload/delete", {"keys": ["x"]})
        self.refused(400, "untagged enum PointsSelector", "POST", "/payload/clear", {})
        self.refused(400, "missing field `payload`", "POST", "/payload", {"points": [1]})
        self.refused(400, "missing field `payload`", "PUT", "/payload", {"points": [1], "payload": None})
        self.refused(400, "missing field `keys`", "POST", "/payload/delete", {"points": [1]})
        self.refused(400, "payload: expected an object", "POST", "/payload", {"points": [1], "payload": [1]})
        self.refused(400, "Invalid json path: 'a..b'", "POST", "/payload",
                     {"points": [1], "payload": {}, "key": "a..b"})
        self.refused(400, "Invalid json path: 'a['", "POST", "/payload/delete", {"points": [1], "keys": ["b", "a["]})
        self.refused(400, "keys: expected a path", "POST", "/payload/delete", {"points": [1], "keys": [7]})
        self.refused(400, "keys has more than 1024 paths", "POST", "/payload/delete",
                     {"points": [1], "keys": ["a"] * 1025})
        self.refused(400, "Empty update request", "POST", "/payload", {"points": [], "payload": {}})
        self.refused(400, "is not a valid point ID", "POST", "/payload", {"points": ["x"], "payload": {}})
        self.refused(400, "`shard_key` is not supported", "POST", "/payload",
                     {"points": [1], "payload": {}, "shard_key": "a"})
        self.refused(400, "Format error in JSON body: ", "POST", "/payload", {"filter": {"x": 1}, "payload": {}})
        deep = {"points": [1], "payload": {"x": 1}, "key": ".".join("a" * 128)}
        self.refused(400, "nested deeper", "POST", "/payload", deep)
        self.assertEqual(self.payload(1)["n"], 1)


class Conditions(Case):
    def test_update_modes(self):
        points = [{"id": 1, "vector": [7, 7], "payload": {"m": 1}}, {"id": 50, "vector": [7, 7]}]
        self.put(points, update_mode="insert_only")
        self.assertEqual((self.payload(1)["n"], 50 in self.ids()), (1, True))
        points[1]["id"] = 51
        self.put(points, update_mode="update_only")
        self.assertEqual((self.payload(1), 51 in self.ids()), ({"m": 1}, False))
        self.put(points, update_mode="upsert")
        self.assertIn(51, self.ids())
        for mode, text in [("never", "unknown variant `never`, expected one of `upsert`"), (3, "expected a string")]:
            self.refused(400, text, "PUT", "", {"points": points, "update_mode": mode})

    def test_update_filter(self):
        points = [{"id": i, "vector": [7, 7], "payload": {"m": 1}} for i in (1, 2, 60)]
        self.put(points, update_filter=match("even", True))
        self.assertEqual([self.payload(i).get("m") for i in (1, 2, 60)], [None, 1, 1])
        self.put([{"id": 1, "vector": [1, 1]}, {"id": 61, "vector": [1, 1]}], update_filter=match("n", 1),
                 update_mode="update_only")
        self.assertEqual((self.payload(1), 61 in self.ids()), ({}, False))
        found = self.ok("POST", self.points + "/query", {"query": [1, 1], "limit": 2})
        self.assertEqual([p["id"] for p in found["points"]], [2, 60])

    def test_delete_by_filter(self):
        self.update("POST", "/delete", {"filter": {"must": [{"key": "n", "range": {"gte": 2, "lt": 4}}]}})
        self.assertEqual(self.ids(), [1, 4, 5, UUID])
        self.update("POST", "/delete", {"filter": match("n", 77)})
        self.assertEqual(len(self.ids()), 4)
        self.update("POST", "/delete", {"filter": {}})
        self.assertEqual(self.ids(), [])


class Batch(Case):
    def batch(self, *operations, wait="true"):
        return self.ok("POST", self.points + "/batch?wait=" + wait, {"operations": list(operations)})

    def test_order_and_results(self):
        results = self.batch(
            {"upsert": {"points": [{"id": 10, "vector": [1, 2], "payload": {"a": 1}}]}},
            {"set_payload": {"payload": {"b": 2}, "points": [10]}},
            {"set_payload": {"payload": {"c": 3}, "filter": match("b", 2)}},
            {"overwrite_payload": {"payload": {"a": 9}, "points": [1]}},
            {"delete_payload": {"keys": ["n"], "filter": match("even", True)}},
            {"clear_payload": {"points": [3]}},
            {"delete": {"filter": match("a", 9)}},
            {"upsert": {"batch": {"ids": [11], "vectors": [[3, 4]]}}})
        self.assertEqual([r["status"] for r in results], ["completed"] * 8)
        first = results[0]["operation_id"]
        self.assertEqual([r["operation_id"] for r in results], list(range(first, first + 8)))
        self.assertEqual(self.payload(10), {"a": 1, "b": 2, "c": 3})
        self.assertEqual(self.payload(2), {"even": True, "s": {"t": [2]}})
        self.assertEqual(self.ids(), [2, 3, 4, 5, 10, 11, UUID])
        self.assertEqual(self.payload(3), {})
        later = self.update("POST", "/payload/clear", {"points": [2]})
        self.assertEqual(later["operation_id"], first + 8)
        self.assertEqual([r["status"] for r in self.batch({"clear_payload": {"points": [2]}}, wait="false")],
                         ["acknowledged"])
        self.assertEqual(self.batch(), [])

    def test_all_or_none(self):
        before = self.ok("POST", self.points + "/scroll", {"limit": 100, "with_vector": True})
        fine = {"upsert": {"points": [{"id": 70, "vector": [1, 1]}]}}
        for bad, status, text in [
                ({"set_payload": {"payload": {}, "points": [99]}}, 404, "Not found: No point with id 99 found"),
                ({"upsert": {"points": [{"id": 1, "vector": [1]}]}}, 400,
                 "Wrong input: Vector dimension error: expected dim: 2, got 1 (points[0]) (operations[1].upsert)"),
                ({"delete": {}}, 400, "untagged enum PointsSelector"),
                ({"delete": {"points": [1], "points": ["x"]}}, 400, "is not a valid point ID"),
                ({"set_payload": {"points": [1]}}, 400, "missing field `payload`"),
                ({"set_payload": None}, 400, "expected an object"),
                ({"unknown": {}}, 400, "operations[1]: data did not match any variant of untagged enum"),
                ({}, 400, "operations[1]: data did not match"), (7, 400, "operations[1]: expected an object")]:
            self.refused(status, text, "POST", "/batch", {"operations": [fine, bad]})
            after = self.ok("POST", self.points + "/scroll", {"limit": 100, "with_vector": True})
            self.assertEqual(before, after, bad)
        self.refused(400, "missing field `operations`", "POST", "/batch", {})
        self.refused(400, "operations: expected an array", "POST", "/batch", {"operations": {}})
        self.refused(400, "strict.update_max_batchsize", "POST", "/batch",
                     {"operations": [{"clear_payload": {"points": [1]}}] * 1001})
        line = b'{"operations": [\n  {"delete": {"points": [1,\n tru]}}]}'
        status, reply = SERVER.request("POST", self.points + "/batch", line)
        self.assertEqual(status, 400)
        self.assertIn("line 3", reply["status"]["error"])


class Model:
    """What the server should hold: id -> payload, in Python's own objects."""

    def __init__(self):
        self.points = {}

    def matching(self, body):
        if "points" in body:
            return [i for i in body["points"] if i in self.points]
        condition = body["filter"].get("must")
        if not condition:
            return list(self.points)
        key, value = condition[0]["key"], condition[0]["match"]["value"]
        return [i for i, p in self.points.items()
                if value in (p[key] if isinstance(p.get(key), list) else [p.get(key)])]

    def apply(self, name, body):
        if name == "upsert":
            for point in body["points"]:
                there = point["id"] in self.points
                mode = body.get("update_mode", "upsert")
                if mode == ("insert_only" if there else "update_only"):
                    continue
                if there and "update_filter" in body and point["id"] not in self.matching(
                        {"filter": body["update_filter"]}):
                    continue
                self.points[point["id"]] = copy.deepcopy(point["payload"])
            return
        for i in self.matching(body):
            if name == "delete":
                del self.points[i]
            elif name == "set_payload":
                target = self.points[i]
                if "key" in body:
                    if not isinstance(target.get(body["key"]), dict):
                        target[body["key"]] = {}
                    target = target[body["key"]]
                for key, value in body["payload"].items():
                    if value is None:
                        target.pop(key, None)
                    else:
                        target[key] = copy.deepcopy(value)
            elif name == "overwrite_payload":
                self.points[i] = copy.deepcopy(body["payload"])
            elif name == "delete_payload":
                for key in body["keys"]:
                    self.points[i].pop(key, None)
            else:
                self.points[i] = {}


class Random(Case):
    maxDiff = None
    CALLS = {"upsert": ("PUT", ""), "delete": ("POST", "/delete"), "set_payload": ("POST", "/payload"),
             "overwrite_payload": ("PUT", "/payload"), "delete_payload": ("POST", "/payload/delete"),
             "clear_payload": ("POST", "/payload/clear")}

    def draw_payload(self, rng, null=False):
        values = [0, 1, 2, {"x": 1}, [1, 2], "text"] + ([None] if null else [])
        drawn = {key: rng.choice(values) for key in rng.sample("abcd", rng.randrange(4))}
        return json.loads(json.dumps(drawn))  # no object in two places

    def draw(self, rng, model):
        name = rng.choice(list(self.CALLS))
        chosen = match(rng.choice("ab"), rng.randrange(3)) if rng.random() < 0.9 else {}
        if name == "upsert":
            body = {"points": [{"id": rng.randrange(30), "vector": [rng.random(), 1],
                                "payload": self.draw_payload(rng)} for _ in range(rng.randrange(1, 6))]}
            if rng.random() < 0.4:
                body["update_mode"] = rng.choice(["upsert", "insert_only", "update_only"])
            if rng.random() < 0.4:
                body["update_filter"] = chosen
            return name, body
        body = {"filter": chosen} if rng.random() < 0.6 or not model.points else {
            "points": rng.sample(sorted(model.points), min(len(model.points), rng.randrange(1, 4)))}
        if name in ("set_payload", "overwrite_payload"):
            body["payload"] = self.draw_payload(rng, null=name == "set_payload")
            if name == "set_payload" and rng.random() < 0.3:
                body["key"] = rng.choice("abcd")
        if name == "delete_payload":
            body["keys"] = rng.sample("abcd", rng.randrange(1, 4))
        if name == "delete" and rng.random() < 0.6:
            body = {"points": [rng.randrange(40)]}
        return name, body

    def compare(self, model, what):
        found = self.ok("POST", self.points + "/scroll", {"limit": 100})["points"]
        self.assertEqual({p["id"]: p["payload"] for p in found}, model.points, what)

    def test_random_updates(self):
        rng, model = random.Random(50), Model()
        self.update("POST", "/delete", {"filter": {}})
        for step in range(300):
            if rng.random() < 0.3:
                operations, after = [], copy.deepcopy(model)
                for _ in range(rng.randrange(1, 6)):
                    name, body = self.draw(rng, after)
                    after.apply(name, body)
                    operations.append({name: body})
                self.ok("POST", self.points + "/batch?wait=true", {"operations": operations})
                model, what = after, operations
            else:
                name, body = self.draw(rng, model)
                method, path = self.CALLS[name]
                self.update(method, path, body)
                model.apply(name, body)
                what = (name, body)
            self.compare(model, json.dumps(what))
        SERVER.stop()
        code, text = verify(SERVER.data)
        self.assertEqual(code, 0, text)
        SERVER.start()
        self.compare(model, "after a restart")


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
