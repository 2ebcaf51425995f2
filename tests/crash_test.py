"""kill -9 under ingest, and a kill at every failpoint: no answered point is lost, kith verify is clean,
and every restart answers its first query within a second.

    CYCLES=50 python3 tests/crash_test.py          (a test build: failpoints are compiled in)"""
import json
import os
import random
import re
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from kith import ROOT, Server, verify

DIM = 64
RESTART_SECONDS = 1.0
SMALL = {"index.first_generation_codes": 64, "index.generation_codes": 512}


def vector(key):
    rng = random.Random(key)
    return [rng.gauss(0, 1) for _ in range(DIM)]


class Ingest(threading.Thread):
    """Writes until the server dies. acked: id -> version of content that was answered; maybe: ids whose
    last write was sent but not answered (old, new, or gone are all allowed, but whole)."""

    def __init__(self, server, acked, seed, number):
        super().__init__(daemon=True)
        self.server, self.acked, self.maybe = server, acked, {}
        self.random, self.number, self.error = random.Random(seed), number, None

    def step(self, connection, serial):
        ids = [self.random.randrange(0, 3000) * 4 + self.number
               for _ in range(self.random.choice([1, 4, 64]))]
        if self.random.random() < 0.15:
            content = {i: None for i in ids}
            call = ("POST", "/collections/c/points/delete?wait=true", {"points": ids})
        else:
            content = {i: "%d-%d" % (serial, k) for k, i in enumerate(ids)}
            points = [{"id": i, "vector": vector(content[i]), "payload": {"content": content[i]}}
                      for i in content]
            call = ("PUT", "/collections/c/points?wait=%s" % self.random.choice(["true", "false"]),
                    {"points": points})
        self.maybe = content
        status, reply = self.server.request(*call, connection=connection)
        if status != 200:
            raise AssertionError("%s: %d %s" % (call[1], status, reply))
        self.acked.update(content)
        self.maybe = {}

    def run(self):
        try:
            connection = self.server.connection(timeout=30)
            serial = self.random.randrange(1 << 40)
            while True:
                serial += 1
                self.step(connection, serial)
        except AssertionError as error:
            self.error = error
        except Exception:  # the server is gone: what the test is about
            pass


def fetch_all(server):
    points, offset = {}, None
    while True:
        body = {"limit": 4000, "with_payload": True, "with_vector": True}
        if offset is not None:
            body["offset"] = offset
        page = server.result("POST", "/collections/c/points/scroll", body)
        points.update({p["id"]: p for p in page["points"]})
        offset = page["next_page_offset"]
        if offset is None:
            return points


def check(server, acked, maybes):
    """Every answered write is there, whole; an unanswered request is applied whole or not at all."""
    points = fetch_all(server)
    stored = {i: p["payload"]["content"] for i, p in points.items()}
    for maybe in maybes:
        if maybe:
            applied = all(stored.get(i) == c for i, c in maybe.items())
            before = all(stored.get(i) == acked.get(i) for i in maybe)
            assert applied or before, "a request was applied in part"
            if applied:
                acked.update(maybe)
    for i, content in acked.items():
        assert stored.get(i) == content, "point %d: answered %s, stored %s" % (i, content, stored.get(i))
    for i, content in stored.items():
        assert acked.get(i) == content, "point %d appeared from nowhere" % i
    sample = random.Random(1).sample(sorted(points), min(200, len(points)))
    for i in sample:
        v = vector(points[i]["payload"]["content"])
        norm = sum(x * x for x in v) ** 0.5
        worst = max(abs(a / norm - b) for a, b in zip(v, points[i]["vector"]))
        assert worst < 1e-6, "point %d: not its vector" % i
    return len(points)


def first_answer(server):
    """Start the process and measure until its first query is answered."""
    begin = time.monotonic()
    server.start()
    server.result("POST", "/collections/c/points/query", {"query": vector("q"), "limit": 3})
    return time.monotonic() - begin


def cycle(server, acked, seed, after, clients=2):
    """Ingest from several connections, kill after a time (or let a failpoint do it), restart, check."""
    threads = [Ingest(server, acked, "%s-%d" % (seed, n), n) for n in range(clients)]
    for thread in threads:
        thread.start()
    if after is not None:
        time.sleep(after)
        server.kill()
    else:
        try:
            server.process.wait(timeout=20)
        except Exception:
            server.kill()
    for thread in threads:
        thread.join()
        if thread.error:
            raise thread.error
    code, text = verify(server.data)
    assert code == 0, text
    server.environment.pop("KITH_FAILPOINT", None)
    seconds = first_answer(server)
    assert seconds < RESTART_SECONDS, "the first answer took %.2f s" % seconds
    return check(server, acked, [t.maybe for t in threads]), seconds


def create(server):
    server.result("PUT", "/collections/c", {"vectors": {"size": DIM, "distance": "Cosine"}})


def kill_cycles(count, seed):
    rng, acked, slowest, points = random.Random(seed), {}, 0.0, 0
    with Server(config=SMALL) as server:
        create(server)
        for i in range(count):
            points, seconds = cycle(server, acked, "%s-%d" % (seed, i), rng.uniform(0.002, 0.2))
            slowest = max(slowest, seconds)
    print("ok   %d kills: %d points stored at the end, 0 lost; slowest restart to answer %.3f s"
          % (count, points, slowest), flush=True)


def failpoint_names():
    names = set()
    for folder in ("storage", "index", "server"):
        for file in os.listdir(os.path.join(ROOT, folder)):
            if file.endswith(".c"):
                with open(os.path.join(ROOT, folder, file)) as source:
                    names.update(re.findall(r'failpoint\("([^"]+)"\)', source.read()))
    return sorted(names)


def failpoint_cycle(name, hit):
    """Returns whether the failpoint was reached. The collection exists before it is armed; creating
    and deleting another one, and ingest, happen after."""
    acked = {}
    with Server(config=dict(SMALL, **{"storage.map_initial_bytes": 4 << 20})) as server:
        create(server)
        cycle(server, acked, "before-" + name, 0.05, clients=1)
        server.stop()
        server.environment["KITH_FAILPOINT"] = "%s:%d" % (name, hit)
        server.start(wait=False)
        created = exercise_collections(server)
        if server.process.poll() is None and created:
            cycle(server, acked, "at-%s-%d" % (name, hit), None if reaches_by_ingest(name) else 0.05,
                  clients=2)
            reached = b"failpoint" in open(server.log, "rb").read()
        else:
            server.process.wait(timeout=20)
            server.process = None
            code, text = verify(server.data)
            assert code == 0, text
            server.environment.pop("KITH_FAILPOINT", None)
            first_answer(server)
            check(server, acked, [])
            reached = True
        for other in server.result("GET", "/collections")["collections"]:
            server.result("GET", "/collections/" + other["name"])
    return reached


def reaches_by_ingest(name):
    return not name.startswith(("catalog", "collection_delete", "store"))


def exercise_collections(server):
    """Create and delete another collection; False when the server died on the way."""
    try:
        server.wait_ready()
        server.request("PUT", "/collections/other", {"vectors": {"size": 4, "distance": "Dot"}})
        server.request("PUT", "/collections/other/points?wait=true",
                       {"points": [{"id": 1, "vector": [1, 2, 3, 4]}]})
        server.request("DELETE", "/collections/other")
        return server.process.poll() is None
    except Exception:
        return False


def main():
    seed = os.environ.get("SEED", "1")
    kill_cycles(int(os.environ.get("CYCLES", "50")), seed)
    names, passed = failpoint_names(), 1
    for name in names:
        hits = [failpoint_cycle(name, hit) for hit in (1, 2, 3)]
        print("ok   failpoint %s: %s" % (name, "reached" if any(hits) else "NOT reached"), flush=True)
        passed += 1
    print("%d passed, 0 failed" % passed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
