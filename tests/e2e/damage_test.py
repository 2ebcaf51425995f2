"""Files that are damaged under a server, and marks: the server ends with a message, the next one serves what is
whole, and kith verify tells."""
import glob
import http.client
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import Server, verify

EXIT_FAULT = 7


def put(server, name, count):
    server.result("PUT", "/collections/" + name, {"vectors": {"size": 32, "distance": "Dot"}})
    for begin in range(0, count, 1000):
        server.result("PUT", "/collections/%s/points?wait=true" % name, {"points": [
            {"id": i, "vector": [float(i % 97 + j) for j in range(32)], "payload": {"n": i}}
            for i in range(begin, min(begin + 1000, count))]})


def ask(server, name):
    return server.request("POST", "/collections/%s/points/query" % name, {"query": [1.0] * 32, "limit": 3})


class Damage(unittest.TestCase):
    def setUp(self):
        self.server = Server(config={"storage.map_initial_bytes": 64 << 20}).start()
        self.addCleanup(self.server.close)

    def directory(self, number):
        return os.path.join(self.server.data, "collections", "%016x" % number)

    def test_truncated_under_the_server(self):
        put(self.server, "bad", 3000)
        put(self.server, "good", 100)
        self.assertEqual(ask(self.server, "bad")[0], 200)
        os.truncate(os.path.join(self.directory(1), "data.mdb"), 3 * 4096)
        with self.assertRaises((http.client.HTTPException, OSError)):
            for _ in range(3):
                ask(self.server, "bad")
                self.server.result("POST", "/collections/bad/points/scroll", {"limit": 1000})
        self.assertEqual(self.server.process.wait(timeout=30), EXIT_FAULT)
        self.assertIn("kith: SIGBUS: a mapped file lost its bytes", self.server.tail())
        self.assertIn("collections/%016x is marked" % 1, self.server.tail())
        self.assertTrue(os.path.exists(os.path.join(self.directory(1), "damaged")))
        self.server.start()
        self.assertEqual(len(ask(self.server, "good")[1]["result"]["points"]), 3)
        self.assertEqual(ask(self.server, "bad")[0], 500)
        self.server.stop()
        code, text = verify(self.server.data)
        self.assertEqual(code, 1)
        self.assertIn("bad: cannot be checked to its end", text)
        self.assertNotIn("good:", text)
        self.server.start()
        self.assertEqual(self.server.request("DELETE", "/collections/bad")[1]["result"], True)
        put(self.server, "bad", 10)
        self.assertEqual(ask(self.server, "bad")[0], 200)

    def test_marked_and_whole(self):
        put(self.server, "c", 100)
        self.server.stop()
        with open(os.path.join(self.directory(1), "damaged"), "w"):
            pass
        self.server.start()
        self.assertEqual(ask(self.server, "c")[0], 500)
        self.server.stop()
        code, text = verify(self.server.data)
        self.assertEqual(code, 0, text)
        self.assertIn("c: was marked as damaged, is whole, and will be opened again", text)
        self.server.start()
        self.assertEqual(ask(self.server, "c")[0], 200)

    def test_catalogue(self):
        put(self.server, "a-collection-with-a-name", 10)
        self.server.result("POST", "/collections/aliases", {"actions": [
            {"create_alias": {"collection_name": "a-collection-with-a-name", "alias_name": "nickname"}}]})
        self.server.stop()
        self.assertEqual(verify(self.server.data)[0], 0)
        path = glob.glob(os.path.join(self.server.data, "catalog", "data.mdb"))[0]
        with open(path, "rb") as file:
            whole = file.read()
        parts = whole.split(b"nickname")
        self.assertGreater(len(parts), 1)
        bad = b"nickname".join([parts[0]] + [p.replace(b"a-collection-with-a-name", b"a-collection-with-A-name", 1)
                                             for p in parts[1:]])
        with open(path, "wb") as file:
            file.write(bad)
        code, text = verify(self.server.data)
        self.assertEqual(code, 1)
        self.assertIn("nickname: the alias's record in the catalogue is damaged", text)
        with open(path, "wb") as file:
            file.write(whole)
        os.rename(self.directory(1), self.directory(9))
        code, text = verify(self.server.data)
        self.assertEqual(code, 1)
        self.assertIn("a-collection-with-a-name: its directory collections/%016x is missing" % 1, text)


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
