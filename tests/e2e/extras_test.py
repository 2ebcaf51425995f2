"""clients/python: the module and its example against a fresh server."""
import array
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import ROOT, Server

PYTHON = os.path.join(ROOT, "clients", "python")
sys.path.insert(0, PYTHON)
from kith_extras import Kith, KithError

SERVER = KITH = None


def setUpModule():
    global SERVER, KITH
    SERVER = Server(environment={"KITH_API_KEY": "secret"}).start()
    KITH = Kith("http://127.0.0.1:%d/" % SERVER.port, api_key="secret")


def tearDownModule():
    SERVER.close()


class Extras(unittest.TestCase):
    def setUp(self):
        KITH.call("DELETE", "/collections/x")

    def rows(self):
        points = KITH.call("POST", "/collections/x/points/scroll", {"limit": 10000, "with_vector": True})["points"]
        return {p["id"]: p["vector"] for p in points}

    def test_matrices_of_every_kind(self):
        base = np.arange(12).reshape(3, 4)
        flat = memoryview(array.array("f", range(12))).cast("B").cast("f", (3, 4))
        kinds = [base.astype(t) for t in ("<f4", "<f2", "u1", "i1", "<f8", ">f4", "i8", "bool")] + [
            np.asfortranarray(base.astype("f4")), np.arange(24, dtype="f4").reshape(3, 8)[:, ::2], base.tolist(), flat]
        for vectors in kinds:
            KITH.call("DELETE", "/collections/x")
            self.assertEqual(KITH.upload("x", vectors, distance="Dot"), 3)
            want = vectors.tolist() if hasattr(vectors, "tolist") else vectors
            self.assertEqual(sorted(self.rows().items()),
                             [(i, [float(v) for v in row]) for i, row in enumerate(want)], getattr(vectors, "dtype", None))

    def test_ids(self):
        KITH.upload("x", [[1, 2]], distance="Dot", first_id=40)
        KITH.upload("x", [[3, 4], [5, 6]])
        self.assertEqual(self.rows(), {40: [1, 2], 41: [3, 4], 42: [5, 6]})
        KITH.upload("x", [[7, 8]], first_id=2**64 - 1)
        self.assertEqual(self.rows()[2**64 - 1], [7, 8])

    def test_more_than_a_piece(self):
        vectors = np.random.default_rng(1).standard_normal((5000, 128), dtype=np.float32)
        self.assertEqual(KITH.upload("x", vectors, distance="Dot"), 5000)
        self.assertEqual(KITH.call("GET", "/collections/x")["points_count"], 5000)
        got = KITH.call("GET", "/collections/x/points/4999")["vector"]
        self.assertTrue(np.array_equal(np.array(got, np.float32), vectors[4999]))

    def test_points(self):
        points = ({"id": i, "vector": [i] * 64, "payload": {"text": "é" * 50}} for i in range(5000))
        self.assertEqual(KITH.upload_points("x", points, distance="Euclid"), 5000)
        self.assertEqual(KITH.call("GET", "/collections/x/points/7")["payload"], {"text": "é" * 50})

    def test_what_is_refused(self):
        for vectors in ([], [[]], [[1, 2], [3]], np.zeros((0, 4), "f4"), np.zeros(4, "f4"), np.zeros((2, 2, 2), "f4")):
            with self.assertRaises(ValueError):
                KITH.upload("x", vectors, distance="Dot")
        with self.assertRaises(ValueError):
            Kith("localhost:6333")
        with self.assertRaises(KithError) as caught:
            KITH.upload("x", [[1, 2]])
        self.assertEqual((caught.exception.status, caught.exception.accepted), (404, 0))
        KITH.upload("x", [[1, 2]], distance="Dot")
        with self.assertRaises(KithError) as caught:
            KITH.upload_points("x", [{"id": 5, "vector": [1, 1]}, {"id": 6, "vector": [1]}])
        self.assertEqual((caught.exception.status, caught.exception.accepted), (400, 1))
        self.assertIn("line 2", caught.exception.text)
        with self.assertRaises(KithError) as caught:
            Kith("http://127.0.0.1:%d" % SERVER.port, api_key="wrong").upload("x", np.zeros((200000, 64), "f4"))
        self.assertEqual(caught.exception.status, 401)
        with self.assertRaises(KithError) as caught:
            KITH.upload("a/b", [[1, 2]])
        self.assertEqual(caught.exception.status, 400)

    def test_export(self):
        sent = [{"id": i, "vector": [float(i), 1.0], "payload": {"n": i, "t": "é" * 30}} for i in range(20000)]
        KITH.upload_points("x", sent, distance="Dot")
        self.assertEqual(list(KITH.export("x")), sent)
        low = {"must": [{"key": "n", "range": {"lt": 2}}]}
        self.assertEqual(list(KITH.export("x", filter=low, with_payload=["n"], with_vector=False)),
                         [{"id": 0, "payload": {"n": 0}}, {"id": 1, "payload": {"n": 1}}])
        with tempfile.TemporaryFile() as file:
            written = KITH.export_npy("x", file, with_ids=True)
            self.assertEqual(file.tell(), written)
            file.seek(0)
            rows, ids = np.load(file), np.load(file)
        self.assertTrue(np.array_equal(rows, [p["vector"] for p in sent]))
        self.assertEqual(ids.tolist(), [p["id"] for p in sent])
        KITH.call("DELETE", "/collections/x")
        for call in (lambda: list(KITH.export("x")), lambda: KITH.export_npy("x", None)):
            with self.assertRaises(KithError) as caught:
                call()
            self.assertEqual(caught.exception.status, 404)

    def test_recall(self):
        vectors = np.random.default_rng(1).standard_normal((2000, 16)).astype("f4")
        KITH.upload("x", vectors, distance="Cosine")
        got = KITH.recall("x", ({"query": row.tolist(), "limit": 5} for row in vectors[:4]), recall=0.9)
        self.assertEqual((got["queries"], [s["of"] for s in got["searches"]]), (4, [5] * 4))
        self.assertAlmostEqual(got["asked"], 0.9, 5)
        self.assertEqual(KITH.recall("x", minutes=3)["minutes"], 3)
        with self.assertRaises(KithError):
            KITH.recall("x", [], recall=2)

    def test_an_export_that_is_cut(self):
        for end in (b"", b"8\r\n{\"id\": 2", b"9\r\n{\"id\": 2}\r\n0\r\n\r\n"):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                def serve():
                    peer = listener.accept()[0]
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{\"id\": 1}\n\r\n" + end)
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(65536):  # closing with unread bytes would reset the connection
                        pass
                    peer.close()
                thread = threading.Thread(target=serve)
                thread.start()
                points = Kith("http://127.0.0.1:%d" % listener.getsockname()[1]).export("x")
                with self.assertRaises(http.client.IncompleteRead):
                    list(points)
                thread.join()

    def test_example(self):
        with Server() as server:
            done = subprocess.run([sys.executable, os.path.join(PYTHON, "example.py"), "http://127.0.0.1:%d" % server.port],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        lines = done.stdout.decode().splitlines()
        self.assertEqual(done.returncode, 0, lines)
        self.assertEqual(lines[:2], ["1000 vectors stored", "1000 points stored"])
        self.assertEqual({lines[2], lines[3]}, {"7 1.0 {}", "1007 1.0 {'copy_of': 7}"})
        self.assertEqual(lines[4], "5 points exported")
        self.assertRegex(lines[5], r"^refused: .*line 2: .*expected dim: 16, got 3.* - accepted: 1$")


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
