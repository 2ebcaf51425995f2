"""Points that expire by a payload field: swept by a clock that the test sets, across kills, and every refusal.

Needs a build with test hooks (KITH_CLOCK_FILE); without them only the refusals are tested."""
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import BINARY, Server, verify

NOW = 1700000000  # 2023-11-14T22:13:20Z
SERVER = None
CLOCK = None
HOOKS = "release" not in os.path.realpath(BINARY)


def set_clock(seconds):
    with open(CLOCK + ".new", "w") as out:
        out.write("%d\n" % seconds)
    os.rename(CLOCK + ".new", CLOCK)


def setUpModule():
    global SERVER, CLOCK
    handle, CLOCK = tempfile.mkstemp(prefix="kith-clock-")
    os.close(handle)
    set_clock(NOW)
    SERVER = Server(config={"expire.interval_ms": "1", "expire.batch_points": "7"},
                    environment={"KITH_CLOCK_FILE": CLOCK}).start()


def tearDownModule():
    SERVER.close()
    os.unlink(CLOCK)


def figure(name):
    data = SERVER.request("GET", "/metrics", raw=True)[1].decode()
    return next(float(line.split()[1]) for line in data.splitlines() if line.startswith(name + " "))


def sweeps(count=2):
    """Wait until as many sweeps have begun and ended after now."""
    end = figure("expiry_sweeps_total") + count
    while figure("expiry_sweeps_total") < end:
        pass


def create(name, kith, **more):
    SERVER.result("DELETE", "/collections/" + name)
    SERVER.result("PUT", "/collections/" + name, dict({"vectors": {"size": 2, "distance": "Dot"}, "metadata": {"kith": kith, "own": 1}}, **more))


def put(name, payloads, first=0):
    SERVER.result("PUT", "/collections/%s/points?wait=true" % name, {"points": [
        {"id": first + i, "vector": [i, 1], "payload": payload} for i, payload in enumerate(payloads)]})


def ids(name):
    return [p["id"] for p in SERVER.result("POST", "/collections/%s/points/scroll" % name, {"limit": 1000})["points"]]


@unittest.skipUnless(HOOKS, "no test hooks in this build")
class Sweep(unittest.TestCase):
    def setUp(self):
        set_clock(NOW)
        for name in SERVER.result("GET", "/collections")["collections"]:
            SERVER.result("DELETE", "/collections/" + name["name"])

    def test_time_passes(self):
        for index in (None, "integer"):
            create("e", {"expire_field": "until"})
            if index:
                SERVER.result("PUT", "/collections/e/index?wait=true", {"field_name": "until", "field_schema": index})
            put("e", [{"until": NOW + i} for i in range(100)] + [{}, {"until": "never"}])
            sweeps()
            self.assertEqual(ids("e"), list(range(1, 102)))
            set_clock(NOW + 49)
            sweeps()
            self.assertEqual(ids("e"), list(range(50, 102)))
            self.assertEqual(SERVER.result("POST", "/collections/e/points/query", {"query": [1, 0], "limit": 1000})["points"][-1]["id"], 50)
            set_clock(NOW + 10**9)
            sweeps()
            self.assertEqual(ids("e"), [100, 101])
            set_clock(NOW)
        self.assertGreaterEqual(figure("expired_points_total"), 200)

    def test_dates_and_nested_fields(self):
        create("d", {"expire_field": "a.until"})
        SERVER.result("PUT", "/collections/d/index?wait=true", {"field_name": "a.until", "field_schema": "datetime"})
        put("d", [{"a": {"until": "2023-11-14T22:13:20Z"}}, {"a": {"until": "2023-11-14T22:13:20.5Z"}},
                  {"a": {"until": "2023-11-15"}}, {"a": {}}])
        sweeps()
        self.assertEqual(ids("d"), [1, 2, 3])
        set_clock(NOW + 86400)
        sweeps()
        self.assertEqual(ids("d"), [3])

    def test_many_collections(self):
        """Each with its own field; others are left alone."""
        for i in range(10):
            create("m%d" % i, {"expire_field": "f%d" % (i % 2)})
            put("m%d" % i, [{"f0": NOW}] * 20 + [{"f1": NOW}] * 20)
        create("none", {})
        put("none", [{"f0": NOW, "f1": NOW}])
        sweeps()
        for i in range(10):
            self.assertEqual(ids("m%d" % i), list(range(20, 40) if i % 2 == 0 else range(20)))
        self.assertEqual(ids("none"), [0])

    def test_changed_by_patch(self):
        create("p", {})
        put("p", [{"x": NOW}, {"y": NOW}])
        sweeps()
        self.assertEqual(ids("p"), [0, 1])
        SERVER.result("PATCH", "/collections/p", {"metadata": {"kith": {"expire_field": "x"}}})
        sweeps()
        self.assertEqual(ids("p"), [1])
        self.assertEqual(SERVER.result("GET", "/collections/p")["config"]["metadata"], {"own": 1, "kith": {"expire_field": "x"}})
        SERVER.result("PATCH", "/collections/p", {"metadata": {"kith": None}})
        put("p", [{"x": NOW}])
        sweeps()
        self.assertEqual(ids("p"), [0, 1])

    def test_killed(self):
        """Whenever it is killed, what has not expired is there, and the sweep goes on after the start."""
        create("k", {"expire_field": "until"})
        for first in range(0, 1000, 100):
            put("k", [{"until": NOW + 100 + (first + i) % 2} for i in range(100)], first)
        set_clock(NOW + 100)
        SERVER.kill()
        SERVER.start()
        sweeps()
        self.assertEqual(ids("k"), list(range(1, 1000, 2)))
        SERVER.stop()
        code, text = verify(SERVER.data)
        self.assertEqual(code, 0, text)
        SERVER.start()
        self.assertEqual(ids("k"), list(range(1, 1000, 2)))


class Refused(unittest.TestCase):
    def refused(self, kith, text, method="PUT"):
        SERVER.result("DELETE", "/collections/r")
        if method == "PATCH":
            create("r", {"expire_field": "kept"})
        body = {"metadata": {"kith": kith}}
        if method == "PUT":
            body["vectors"] = {"size": 2, "distance": "Dot"}
        status, reply = SERVER.request(method, "/collections/r", body)
        self.assertEqual(status, 400, reply)
        self.assertIn(text, reply["status"]["error"])
        if method == "PATCH":
            kept = SERVER.result("GET", "/collections/r")["config"]["metadata"]["kith"]
            self.assertEqual(kept, {"expire_field": "kept"})
        else:
            self.assertEqual(SERVER.result("GET", "/collections/r/exists"), {"exists": False})

    def test_texts(self):
        for method in ("PUT", "PATCH"):
            self.refused(7, "Format error in JSON body: metadata.kith: expected a map", method)
            self.refused({"expire_field": 7}, "Format error in JSON body: metadata.kith.expire_field: expected a path as a string", method)
            self.refused({"expire_field": "a..b"}, "Wrong input: metadata.kith.expire_field: `a..b` is not a valid path", method)
            self.refused({"expire_field": "a" * 1025}, "Wrong input: metadata.kith.expire_field: longer than 1024 bytes", method)
            self.refused({"expires": "a"}, "Wrong input: metadata.kith: unknown field `expires`, expected `expire_field`", method)


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
