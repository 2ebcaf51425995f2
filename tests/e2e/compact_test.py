"""POST /collections/{c}/compact and kith compact: the file shrinks, searches and writes go on, nothing else changes."""
import os
import random
import subprocess
import sys
import threading
import unittest
import zlib

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import BINARY, Server, verify

DIM, COUNT, KEPT = 64, 12000, 10


def vector(key):
    return np.random.default_rng(zlib.crc32(key.encode())).normal(size=DIM).round(4).tolist()


def put(server, name, ids, serial):
    for begin in range(0, len(ids), 500):
        server.result("PUT", "/collections/%s/points?wait=true" % name, {"points": [
            {"id": i, "vector": vector("%d-%d" % (serial, i)), "payload": {"serial": serial}}
            for i in ids[begin:begin + 500]]})


def bytes_of(server):
    return sum(os.path.getsize(os.path.join(folder, "data.mdb"))
               for folder, _, files in os.walk(os.path.join(server.data, "collections")) if "data.mdb" in files)


def compact(directory):
    done = subprocess.run([BINARY, "compact", directory], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode()


def load(server, name, ids):
    server.result("PUT", "/collections/" + name, {"vectors": {"size": DIM, "distance": "Euclid"}})
    put(server, name, ids, 1)


class Compaction(unittest.TestCase):
    def check(self, server, name, ids, serial):
        self.assertEqual(server.result("POST", "/collections/%s/points/count" % name, {})["count"], len(ids))
        for i in random.Random(3).sample(list(ids), 40):
            hit = server.result("POST", "/collections/%s/points/query" % name,
                                {"query": vector("%d-%d" % (serial, i)), "limit": 1, "with_payload": True})["points"][0]
            self.assertEqual((hit["id"], hit["payload"]), (i, {"serial": serial}))
            self.assertLess(hit["score"], 1e-3)

    def test_while_searches_and_writes_go_on(self):
        kept = range(0, COUNT, KEPT)
        with Server(config={"index.partition_start_codes": 2048}) as server:
            load(server, "c", range(COUNT))
            load(server, "d", range(100))
            server.result("POST", "/collections/c/points/delete?wait=true",
                          {"points": [i for i in range(COUNT) if i % KEPT]})
            before = bytes_of(server)
            stop, problems, asked = threading.Event(), [], [0, 0]

            def ask():
                connection, rng = server.connection(), random.Random(1)
                while not stop.is_set():
                    i = rng.choice(kept)
                    hits = server.result("POST", "/collections/c/points/query",
                                         {"query": vector("1-%d" % i), "limit": 1}, connection)["points"]
                    asked[0] += 1
                    if [h["id"] for h in hits] != [i]:
                        problems.append((i, hits))

            def write():
                while not stop.is_set():
                    put(server, "c", [COUNT + asked[1] % 50], 1)
                    put(server, "d", [asked[1] % 100], 2)
                    asked[1] += 1

            threads = [threading.Thread(target=ask), threading.Thread(target=write)]
            for thread in threads:
                thread.start()
            for _ in range(3):
                reply = server.result("POST", "/collections/c/compact?wait=true")
            stop.set()
            for thread in threads:
                thread.join()
            self.assertEqual(problems, [])
            self.assertTrue(asked[0] > 0 and asked[1] > 0)
            self.assertEqual(reply["status"], "completed")
            self.assertLess(bytes_of(server), before / 2)
            server.result("POST", "/collections/c/points/delete?wait=true",
                          {"points": list(range(COUNT, COUNT + 50))})
            self.check(server, "c", kept, 1)
            metrics = server.request("GET", "/metrics", raw=True)[1].decode()
            self.assertIn("\ncompactions_total ", metrics)
            reply = server.result("POST", "/collections/c/compact")
            self.assertEqual(reply, {"status": "acknowledged"})
            self.assertEqual(server.request("POST", "/collections/none/compact")[0], 404)
            self.assertEqual(server.stop(), 0)
            code, text = verify(server.data)
            self.assertEqual(code, 0, text)
            server.start()
            self.check(server, "c", kept, 1)

    def test_to_the_size_of_a_fresh_load(self):
        kept = range(0, COUNT, KEPT)
        with Server() as fresh:
            load(fresh, "c", kept)
            fresh_bytes = bytes_of(fresh)
        with Server() as server:
            load(server, "c", range(COUNT))
            server.result("POST", "/collections/c/points/delete?wait=true",
                          {"points": [i for i in range(COUNT) if i % KEPT]})
            before = bytes_of(server)
            code, text = compact(server.data)  # under a running server
            self.assertEqual(code, 1)
            self.assertIn("in use by another kith", text)
            self.assertEqual(server.stop(), 0)
            code, text = compact(server.data)
            self.assertEqual(code, 0, text)
            after = bytes_of(server)
            self.assertEqual(text, "c: %d bytes, before %d\n" % (after, int(text.split()[-1])))
            self.assertLess(after, 1.5 * fresh_bytes)
            self.assertLess(after, before / 3)
            self.assertEqual(verify(server.data)[0], 0)
            server.start()
            self.check(server, "c", kept, 1)
            print("12,000 x 64, 90 %% deleted: %d bytes, compacted %d, a fresh load %d"
                  % (before, after, fresh_bytes))

    def test_no_room(self):
        with Server() as server:
            load(server, "c", range(1000))
            put(server, "c", range(1000), 2)
            self.assertEqual(server.stop(), 0)
            before = bytes_of(server)
            server.config["storage.min_free_bytes"] = 1 << 43
            server.start(wait=False)
            while True:
                try:
                    server.request("GET", "/healthz", raw=True)
                    break
                except OSError:  # it does not listen yet; it is never ready with so little room
                    self.assertIsNone(server.process.poll())
            status, reply = server.request("POST", "/collections/c/compact?wait=true")
            self.assertEqual(status, 507, reply)
            self.assertIn("its file is as it was", reply["status"]["error"])
            self.assertEqual(bytes_of(server), before)
            self.check(server, "c", range(1000), 2)

    def test_read_only_key(self):
        environment = {"KITH_API_KEY": "k" * 20, "KITH__SERVICE__READ_ONLY_API_KEY": "r" * 20}
        with Server(environment=environment) as server:
            headers = {"api-key": "r" * 20}
            self.assertEqual(server.request("POST", "/collections/c/compact", headers=headers)[0], 403)

    def test_usage(self):
        done = subprocess.run([BINARY, "compact"], stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stderr), (1, b"kith: usage: kith compact DIR\n"))
        code, text = compact("/nonexistent")
        self.assertEqual(code, 1)
        self.assertNotEqual(text, "")


if __name__ == "__main__":
    result = unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromName("__main__"))
    bad = len(result.failures) + len(result.errors)
    print("%d passed, %d failed" % (result.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
