"""The program as an operator meets it: flags, keys, locks, signals, verify."""
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import BINARY, Server, free_port, verify


def run(*arguments, environment=None):
    done = subprocess.run([BINARY, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, env=environment)
    return done.returncode, done.stdout.decode("utf-8", "replace")


class Program(unittest.TestCase):
    def refused(self, text, *arguments, environment=None):
        code, out = run(*arguments, environment=environment)
        self.assertEqual(code, 1, out)
        self.assertIn(text, out)
        self.assertEqual(len([l for l in out.splitlines() if "level=info" not in l]), 1, out)

    def test_help_and_version(self):
        code, out = run("--version")
        self.assertEqual(code, 0)
        for word in ["kith", "lmdb", "libuv"]:
            self.assertIn(word, out.lower())
        commit = re.search("^commit: ([0-9a-f]{40})$", out, re.M).group(1)
        with Server() as server:
            self.assertEqual(server.request("GET", "/")[1]["commit"], commit)
        code, out = run("--help")
        self.assertEqual(code, 0)
        for word in ["serve", "verify", "health", "--data-dir", "--port"]:
            self.assertIn(word, out)
        self.assertEqual(run("serve", "--port", "1", "--help"), (code, out))
        self.assertNotEqual(run("nonsense")[0], 0)
        self.assertNotEqual(run("serve", "--nonsense")[0], 0)

    def test_two_servers_on_one_directory(self):
        with Server() as server:
            self.refused("in use", "serve", "--data-dir", server.data, "--port", str(free_port()))
            self.refused("in use", "verify", server.data)

    def test_port_in_use(self):
        with Server() as server, tempfile.TemporaryDirectory() as other:
            self.refused(str(server.port), "serve", "--data-dir", other, "--port", str(server.port))

    def test_directory_without_permission(self):
        if os.getuid() != 0:
            self.skipTest("needs root to give the directory away")
        with tempfile.TemporaryDirectory() as parent:
            os.chmod(parent, 0o755)
            data = os.path.join(parent, "data")
            os.mkdir(data, 0o700)
            binary = os.path.join(parent, "kith")
            subprocess.run(["cp", BINARY, binary], check=True)
            done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary,
                                   "serve", "--data-dir", data, "--port", str(free_port())],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"ermission", done.stdout)

    def test_bad_configuration(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "conf")
            with open(path, "w") as out:
                out.write("http.body_byte_max = 5\n")
            self.refused("http.body_bytes_max", "serve", "--data-dir", directory, "--config", path)
            self.refused("0.0.0.0", "serve", "--data-dir", directory, "--host", "0.0.0.0")
            for name in ["KITH_API_KEYS", "KITH_SERVICE_API_KEY", "KITH_API_KEY_FILES"]:
                self.refused(name, "serve", "--data-dir", directory, environment={name: "x"})

    def test_sigterm_drains(self):
        with Server() as server:
            server.result("PUT", "/collections/c", {"vectors": {"size": 2, "distance": "Dot"}})
            server.result("PUT", "/collections/c/points", {"points": [{"id": 1, "vector": [1, 2]}]})
            self.assertEqual(server.stop(signal.SIGTERM), 0)
            self.assertEqual(verify(server.data)[0], 0)
            server.start()
            self.assertEqual(server.result("GET", "/collections/c/points/1")["vector"], [1.0, 2.0])

    def test_verify_finds_damage(self):
        with Server() as server:
            server.result("PUT", "/collections/c", {"vectors": {"size": 64, "distance": "Dot"}})
            points = [{"id": i, "vector": [float(i + j) for j in range(64)], "payload": {"a": "b" * 50}}
                      for i in range(500)]
            server.result("PUT", "/collections/c/points", {"points": points})
            self.assertEqual(server.stop(), 0)
            self.assertEqual(verify(server.data)[0], 0)
            flipped = False
            for folder, _, files in os.walk(os.path.join(server.data, "collections")):
                for name in files:
                    if name == "data.mdb":
                        flipped |= self.flip(os.path.join(folder, name))
            self.assertTrue(flipped)
            code, text = verify(server.data)
            self.assertEqual(code, 1, text)
            self.assertGreater(len(text.splitlines()), 0)
        with tempfile.TemporaryDirectory() as empty:
            self.assertEqual(run("verify", os.path.join(empty, "none"))[0], 1)

    def test_verify_of_damaged_structure(self):
        """Whatever LMDB's own page headers say, verify ends with 1 and a text, never by a signal."""
        with Server(config={"storage.map_initial_bytes": 1 << 20}) as server:
            server.result("PUT", "/collections/c", {"vectors": {"size": 64, "distance": "Dot"}})
            server.result("PUT", "/collections/c/points",
                          {"points": [{"id": i, "vector": [float(i)] * 64} for i in range(500)]})
            self.assertEqual(server.stop(), 0)
            path = os.path.join(server.data, "collections", "0000000000000001", "data.mdb")
            with open(path, "rb") as file:
                whole = file.read()
            for field, value in [(12, 0xFFF0), (14, 0xFFFF), (10, 0xFFFF), (10, 0), (16, 0xFFFF), (18, 0xFFFF)]:
                bad = bytearray(whole)
                for page in range(2, len(bad) // 4096):  # after the two meta pages
                    struct.pack_into("<H", bad, page * 4096 + field, value)
                with open(path, "wb") as file:
                    file.write(bad)
                code, text = verify(server.data)
                self.assertEqual(code, 1, (field, value, text))
                self.assertIn("c: ", text)

    def test_one_damaged_collection(self):
        """Its file is cut: it answers 500 and the log says so; the others, and deleting it, go on."""
        with Server() as server:
            for name in ["a", "b"]:
                server.result("PUT", "/collections/" + name, {"vectors": {"size": 64, "distance": "Dot"}})
                server.result("PUT", "/collections/%s/points" % name,
                              {"points": [{"id": i, "vector": [float(i)] * 64} for i in range(500)]})
            self.assertEqual(server.stop(), 0)
            first = os.path.join(server.data, "collections", "0000000000000001", "data.mdb")
            os.truncate(first, os.path.getsize(first) // 2)
            code, text = verify(server.data)
            self.assertEqual((code, text.startswith("a: ")), (1, True), text)
            with open(os.path.join(server.data, "stray.tmp"), "w"):
                pass  # unknown files are nobody's business
            server.start()
            body = {"query": [1.0] * 64, "limit": 1}
            for _ in range(30):
                self.assertEqual(server.request("POST", "/collections/a/points/query", body)[0], 500)
            with open(server.log) as log:
                told = [l for l in log if 'msg="request failed"' in l and "status=500" in l]
            self.assertTrue(1 <= len(told) <= 20, told)
            self.assertIn("path=\"/collections/a/points/query\"", told[0])
            self.assertEqual(server.result("POST", "/collections/b/points/query", body)["points"][0]["id"], 499)
            self.assertTrue(server.result("DELETE", "/collections/a"))
            self.assertEqual(server.stop(), 0)
            self.assertEqual(verify(server.data)[0], 0)

    def flip(self, path):
        """Change one byte in the middle of a stored payload string."""
        with open(path, "r+b") as file:
            at = file.read().rfind(b"b" * 50)
            if at < 0:
                return False
            file.seek(at + 25)
            file.write(b"X")
        return True

    def test_health(self):
        with Server() as server:
            self.assertEqual(run("health", "--port", str(server.port))[0], 0)
        self.assertEqual(run("health", "--port", str(free_port()))[0], 1)

    def test_keys(self):
        environment = {"KITH_API_KEY": "s3cret", "KITH__SERVICE__READ_ONLY_API_KEY": "look"}
        with Server(environment=environment) as server:
            for path in ["/", "/healthz", "/livez", "/readyz"]:
                self.assertEqual(server.request("GET", path, raw=True)[0], 200, path)
            full, read = {"api-key": "s3cret"}, {"api-key": "look"}
            body = {"vectors": {"size": 2, "distance": "Dot"}}
            self.assertEqual(server.request("GET", "/collections", raw=True)[0], 401)
            self.assertEqual(server.request("GET", "/collections", headers={"api-key": "no"}, raw=True)[0], 401)
            self.assertEqual(server.request("PUT", "/collections/c", body, read, raw=True)[0], 403)
            self.assertEqual(server.request("PUT", "/collections/c", body, full)[0], 200)
            bearer = {"Authorization": "Bearer s3cret"}
            self.assertEqual(server.request("GET", "/collections", headers=bearer)[0], 200)
            self.assertEqual(server.request("GET", "/collections", headers=read)[0], 200)
            with open("/proc/%d/cmdline" % server.process.pid, "rb") as line:
                self.assertNotIn(b"s3cret", line.read())
            self.assertNotIn("s3cret", server.tail())

    def test_many_small_collections(self):
        with Server(config={"storage.max_open_environments": 20}) as server:
            connection = server.connection()
            for i in range(100):
                server.result("PUT", "/collections/c%d" % i, {"vectors": {"size": 3, "distance": "Dot"}}, connection)
                server.result("PUT", "/collections/c%d/points" % i,
                              {"points": [{"id": 1, "vector": [i, 1, 1]}]}, connection)
            self.assertEqual(server.stop(), 0)
            server.start()
            connection = server.connection()
            for i in range(100):
                points = server.result("POST", "/collections/c%d/points/query" % i,
                                       {"query": [1, 0, 0]}, connection)["points"]
                self.assertEqual(points[0]["score"], float(i))

    def test_few_descriptors(self):
        """Connections cannot take the descriptors of collections, nor the other way round."""
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        with Server(before=limit) as server:
            connection = server.connection()
            for i in range(100):
                server.result("PUT", "/collections/c%d" % i, {"vectors": {"size": 3, "distance": "Dot"}}, connection)
            refused, crowd = 0, []
            for _ in range(150):
                crowd.append(socket.create_connection(("127.0.0.1", server.port), 10))
            for s in crowd:
                s.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                try:
                    refused += b" 200 " not in s.recv(4096)
                except ConnectionError:
                    refused += 1
            self.assertTrue(50 <= refused <= 60, refused)
            for i in range(100):  # each is opened anew
                self.assertEqual(server.result("GET", "/collections/c%d" % i, connection=connection)["points_count"], 0)
            for s in crowd:
                s.close()
            self.assertEqual(server.stop(), 0)

    def test_raw_bytes_are_answered(self):
        with Server() as server:
            for data, expected in [(b"NONSENSE\r\n\r\n", b" 400 "), (b"GET / HTTP/1.1\r\n\r\n", b" 400 "),
                                   (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b" 414 ")]:
                with socket.create_connection(("127.0.0.1", server.port), 10) as s:
                    s.sendall(data)
                    self.assertIn(expected, s.recv(4096).split(b"\r\n")[0] + b" ")


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
