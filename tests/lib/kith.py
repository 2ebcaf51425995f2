"""Start kith in a fresh directory and talk to it: what the Python tests and benchmarks share.

Standard library and numpy only. KITH names the binary (default build/kith). Scripts of tests/e2e have
what they send and get compared with server/openapi.json (contract.py); KITH_CONTRACT=1 or 0 overrides."""
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.join(ROOT, os.environ.get("KITH", "build/kith"))
START_SECONDS = 60
# A build that counts lines writes its counts when it ends by itself.
CLOSING = signal.SIGTERM if os.environ.get("KITH_COVERAGE") == "1" else signal.SIGKILL
CONTRACT = None
if os.environ.get("KITH_CONTRACT", str(int("/e2e/" in os.path.abspath(sys.argv[0])))) == "1":
    from contract import Contract
    CONTRACT = Contract()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A running kith. Context manager: killed and its directory removed at the end."""

    def __init__(self, directory=None, config=None, environment=None, port=None, before=None):
        self.own = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix="kith-test-")
        self.data = os.path.join(self.directory, "data")
        self.config = dict(config or {})
        self.environment = dict(environment or {})
        self.port = port or free_port()
        self.before = before  # called in the new process, before kith runs
        self.process = None
        self.log = os.path.join(self.directory, "log")

    def command(self):
        line = [BINARY, "serve", "--data-dir", self.data, "--port", str(self.port)]
        if self.config:
            path = os.path.join(self.directory, "kith.conf")
            with open(path, "w") as out:
                out.writelines("%s = %s\n" % item for item in self.config.items())
            line += ["--config", path]
        return line

    def start(self, wait=True):
        environment = dict(os.environ, **self.environment)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=environment, preexec_fn=self.before)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError("kith ended with %d: %s" % (self.process.returncode, self.tail()))
            with contextlib.suppress(OSError):
                if self.request("GET", "/readyz", raw=True)[0] == 200:
                    return
            time.sleep(0.002)
        raise RuntimeError("kith is not ready: " + self.tail())

    def tail(self):
        with open(self.log, "rb") as log:
            return log.read()[-2000:].decode("utf-8", "replace")

    def stop(self, how=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=60) if self.process is not None else None
        self.process = None
        return code

    def kill(self):
        return self.stop(signal.SIGKILL)

    def close(self):
        if self.process is not None:
            self.stop(CLOSING)
        if self.own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    # ---- talking ----

    def connection(self, timeout=120):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def request(self, method, path, body=None, headers=None, raw=False, connection=None):
        """(status, parsed JSON, or bytes with raw)."""
        own = connection is None
        connection = connection or self.connection()
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, bytearray)):
            body = json.dumps(body).encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        data = reply.read()
        if own:
            connection.close()
        if CONTRACT is not None:
            CONTRACT.check(method, path, body, headers.get("Content-Type"), reply.status,
                           reply.getheader("Content-Type"), data)
        return reply.status, data if raw else json.loads(data)

    def result(self, method, path, body=None, connection=None, headers=None):
        """The result of a call that must succeed."""
        status, reply = self.request(method, path, body, headers, connection=connection)
        if status != 200:
            raise AssertionError("%s %s: %d %s" % (method, path, status, reply))
        return reply["result"]

    def curl_npy(self, collection, path, query="", gzip=False):
        """Ingest an NPY file as a person with curl would; the parsed reply."""
        line = ["curl", "-sS", "-X", "POST", "-H", "Content-Type: application/x-npy", "-H", "Expect:"]
        if gzip:
            line += ["-H", "Content-Encoding: gzip"]
        line += ["-T", path, "http://127.0.0.1:%d/collections/%s/bulk%s" % (self.port, collection, query)]
        return json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout)

    # ---- /proc ----

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process.pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        """(anonymous, file-backed) resident bytes."""
        anonymous = total = 0
        with open("/proc/%d/smaps_rollup" % self.process.pid) as rollup:
            for line in rollup:
                if line.startswith("Rss:"):
                    total = int(line.split()[1]) * 1024
                elif line.startswith("Anonymous:"):
                    anonymous = int(line.split()[1]) * 1024
        return anonymous, total - anonymous


def verify(directory):
    """kith verify on a stopped server's data: (exit code, text)."""
    done = subprocess.run([BINARY, "verify", directory], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode("utf-8", "replace")
