"""kill -9 under ingest, and a kill at every failpoint: no answered point is lost, kith verify is clean,
and every restart answers its first query within a second.

    CYCLES=50 python3 tests/crash_test.py [FAILPOINT...]     (a test build: they are compiled in)"""
import contextlib
import http.client
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
KILLED_BY_FAILPOINT = 86
WORKLOAD_STEPS = 60
SMALL = {"index.first_generation_codes": 64, "index.generation_codes": 512,
         "index.partition_start_codes": 128, "index.partition_codes": 16, "index.plan_bytes": 16384,
         "index.sparse_tail_points": 32, "storage.slot_chunk_bits": 6}


def vector(key):
    rng = random.Random(key)
    return [rng.gauss(0, 1) for _ in range(DIM)]


def words(key):
    rng = random.Random(key)
    return {"indices": sorted(rng.sample(range(60), 8)), "values": [rng.randrange(1, 9) / 2 for _ in range(8)]}


def vectors(key):
    """Of every kind: dense, sparse, and a multivector of two rows."""
    return {"": vector(key), "words": words(key), "rows": [vector(key)[:3], vector(key)[3:6]]}


class Ingest(threading.Thread):
    """Writes until the server dies, or `steps` requests. acked: id -> version of content that was answered; maybe: ids whose
    last write was sent but not answered (old, new, or gone are all allowed, but whole; of a bulk
    stream, which commits in steps, any number of its first lines: in_steps)."""

    def __init__(self, server, acked, seed, number, steps=None):
        super().__init__(daemon=True)
        self.server, self.acked, self.maybe = server, acked, {}
        self.steps, self.alive, self.in_steps = steps, False, False
        self.random, self.number, self.error = random.Random(seed), number, None

    def step(self, connection, serial):
        kind = self.random.random()
        count = 600 if kind < 0.1 else self.random.choice([1, 4, 64])
        ids = [n * 4 + self.number for n in self.random.sample(range(3000), count)]
        headers, self.in_steps = {}, kind < 0.05
        if kind < 0.05:
            content = {i: "%d-%d" % (serial, k) for k, i in enumerate(ids)}
            lines = (json.dumps({"id": i, "vector": vectors(content[i]), "payload": {"content": content[i]}})
                     for i in content)
            headers = {"Content-Type": "application/x-ndjson"}
            call = ("POST", "/collections/c/bulk", "\n".join(lines).encode())
        elif kind < 0.2:
            content = {i: None for i in ids}
            call = ("POST", "/collections/c/points/delete?wait=true", {"points": ids})
        else:
            content = {i: "%d-%d" % (serial, k) for k, i in enumerate(ids)}
            points = [{"id": i, "vector": vectors(content[i]), "payload": {"content": content[i]}}
                      for i in content]
            call = ("PUT", "/collections/c/points?wait=%s" % self.random.choice(["true", "false"]),
                    {"points": points})
        self.maybe = content
        status, reply = self.server.request(*call, headers=headers, connection=connection)
        if status != 200:
            raise AssertionError("%s: %d %s" % (call[1], status, reply))
        self.acked.update(content)
        self.maybe = {}

    def run(self):
        try:
            connection = self.server.connection(timeout=30)
            serial = self.random.randrange(1 << 40)
            last = serial + self.steps if self.steps else None
            while serial != last:
                serial += 1
                self.step(connection, serial)
            self.alive = True
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


def settle(stored, acked, maybe, in_steps):
    """Was an unanswered request applied, or which part of a bulk stream? It counts as answered then."""
    applied = dict(maybe)
    if in_steps:
        ids = list(maybe)
        count = next((k for k, i in enumerate(ids) if stored.get(i) != maybe[i]), len(ids))
        applied = {i: maybe[i] for i in ids[:count]}
    elif any(stored.get(i) != content for i, content in maybe.items()):
        assert all(stored.get(i) == acked.get(i) for i in maybe), "a request was applied in part"
        applied = {}
    acked.update(applied)


def check(server, acked, threads):
    """Every answered write is there, whole; an unanswered request is applied whole or not at all."""
    points = fetch_all(server)
    stored = {i: p["payload"]["content"] for i, p in points.items()}
    for thread in threads:
        settle(stored, acked, thread.maybe, thread.in_steps)
    for i, content in acked.items():
        assert stored.get(i) == content, "point %d: answered %s, stored %s" % (i, content, stored.get(i))
    for i, content in stored.items():
        assert acked.get(i) == content, "point %d appeared from nowhere" % i
    sample = random.Random(1).sample(sorted(points), min(200, len(points)))
    for i in sample:
        v = vector(points[i]["payload"]["content"])
        norm = sum(x * x for x in v) ** 0.5
        stored = points[i]["vector"]
        worst = max(abs(a / norm - b) for a, b in zip(v, stored[""]))
        assert worst < 1e-6, "point %d: not its vector" % i
        assert stored["words"] == words(points[i]["payload"]["content"]), "point %d: not its words" % i
        worst = max(abs(a - b) for a, b in zip(v, stored["rows"][0] + stored["rows"][1]))
        assert worst < 1e-6, "point %d: not its rows" % i
    return len(points)


def first_answer(server):
    """Start the process and measure until its first query is answered."""
    begin = time.monotonic()
    server.start()
    server.result("POST", "/collections/c/points/query", {"query": vector("q"), "limit": 3})
    return time.monotonic() - begin


def cycle(server, acked, seed, after):
    """Ingest from two connections, kill after a time, restart, check."""
    threads = [Ingest(server, acked, "%s-%d" % (seed, n), n) for n in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(after)
    server.kill()
    for thread in threads:
        thread.join()
        if thread.error:
            raise thread.error
    code, text = verify(server.data)
    assert code == 0, text
    seconds = first_answer(server)
    assert seconds < RESTART_SECONDS, "the first answer took %.2f s" % seconds
    return check(server, acked, threads), seconds


def create(server):
    server.result("PUT", "/collections/c", {
        "vectors": {"": {"size": DIM, "distance": "Cosine"},
                    "rows": {"size": 3, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}},
        "sparse_vectors": {"words": {"modifier": "idf"}}})


def kill_cycles(count, seed):
    rng, acked, slowest, points = random.Random(seed), {}, 0.0, 0
    with Server(config=SMALL) as server:
        create(server)
        for i in range(count):
            points, seconds = cycle(server, acked, "%s-%d" % (seed, i), rng.uniform(0.002, 0.2))
            slowest = max(slowest, seconds)
    print("ok   %d kills: %d points stored at the end, 0 lost; slowest restart to answer %.3f s"
          % (count, points, slowest), flush=True)


# ---- kills while payload indexes are built ----

BUILD_POINTS = 5000
INDEXES = {"n": "integer", "k": "keyword", "t": {"type": "text", "stemmer": {"type": "snowball", "language": "en"}},
           "at": "geo", "when": "datetime"}
FILTERS = [
    ({"key": "n", "range": {"gte": 100, "lt": 2900}}, lambda p: 100 <= p["n"] < 2900),
    ({"key": "k", "match": {"any": ["k1", "k3"]}}, lambda p: p["k"] in ("k1", "k3")),
    ({"key": "at", "geo_radius": {"center": {"lon": 0, "lat": 0}, "radius": 1e6}},
     lambda p: abs(p["at"]["lon"]) < 8.9932),
    ({"key": "when", "range": {"lt": "2010-01-01T00:00:00Z"}}, lambda p: p["when"] < "2010"),
]


def build_payload(i, version):
    return {"n": (i * 37 + version) % 4001, "k": "k%d" % ((i + version) % 5), "t": "walking %d" % ((i + version) % 7),
            "at": {"lon": (i * 13 + version) % 90 - 45, "lat": 0}, "when": "20%02d-01-02T00:00:00Z" % ((i + version) % 30)}


def check_filters(server, payloads, tokens):
    """Each filter finds what it must, by whatever there is of an index. tokens: is `t` defined?"""
    word = "walks" if tokens else "walking"
    for condition, holds in FILTERS + [({"key": "t", "match": {"text": word + " 3"}}, lambda p: p["t"].endswith("3"))]:
        got = server.result("POST", "/collections/f/points/count", {"filter": {"must": condition}})["count"]
        want = sum(holds(p) for p in payloads.values())
        assert got == want, "%s: %d, not %d" % (condition, got, want)


def define_indexes(server):
    """Ask for all indexes, without waiting for them. Has the server died at it?"""
    try:
        for name, schema in INDEXES.items():
            server.result("PUT", "/collections/f/index", {"field_name": name, "field_schema": schema})
        for name in INDEXES:  # waits until it is built
            server.result("PUT", "/collections/f/index?wait=true", {"field_name": name, "field_schema": INDEXES[name]})
    except (OSError, http.client.HTTPException):
        return True
    return False


def build_kill(how, hit):
    """Kill in the middle of building: at a pass of a failpoint, or after some milliseconds."""
    payloads = {}
    with Server(config=SMALL) as server:
        server.result("PUT", "/collections/f", {"vectors": {"size": 4, "distance": "Dot"}})
        for begin in range(0, BUILD_POINTS, 500):
            payloads.update((i, build_payload(i, 0)) for i in range(begin, begin + 500))
            server.result("PUT", "/collections/f/points?wait=true", {"points": [
                {"id": i, "vector": [1, 2, 3, i], "payload": payloads[i]} for i in range(begin, begin + 500)]})
        check_filters(server, payloads, False)
        server.stop()
        if how is not None:
            server.environment["KITH_FAILPOINT"] = "%s:%d" % (how, hit)
        server.start()
        killer = threading.Timer(hit / 1000, server.kill)
        if how is None:
            killer.start()
        died = define_indexes(server)
        killer.cancel()
        assert how is None or died, "failpoint %s:%d was not reached" % (how, hit)
        server.kill()
        server.environment.pop("KITH_FAILPOINT", None)
        code, text = verify(server.data)
        assert code == 0, text
        server.start()
        tokens = "t" in server.result("GET", "/collections/f")["payload_schema"]
        check_filters(server, payloads, tokens)  # while the rest is being built
        for i in range(0, BUILD_POINTS, 50):
            payloads[i] = build_payload(i, 1)
        server.result("PUT", "/collections/f/points?wait=true", {"points": [
            {"id": i, "vector": [1, 2, 3, i], "payload": payloads[i]} for i in range(0, BUILD_POINTS, 50)]})
        check_filters(server, payloads, tokens)
        assert not define_indexes(server)
        check_filters(server, payloads, True)
        server.stop()
        code, text = verify(server.data)
        assert code == 0, text
    return died


def build_kills(seed):
    rng = random.Random(seed)
    for hit in (1, 2, 4, 7, 11, 14):
        build_kill("index-build-step", hit)
    died = sum(build_kill(None, rng.randrange(1, 120)) for _ in range(6))
    print("ok   6 kills at steps of building indexes, %d of 6 at any time: answers right, verify clean" % died,
          flush=True)


def failpoint_names():
    names = set()
    for folder in ("storage", "index", "server"):
        for file in os.listdir(os.path.join(ROOT, folder)):
            if file.endswith(".c"):
                with open(os.path.join(ROOT, folder, file)) as source:
                    names.update(re.findall(r'failpoint\("([^"]+)"\)', source.read()))
    return sorted(names)


def workload(server, acked, seed):
    """All that reaches failpoints: a first start, collections created and deleted, ingest until a map
    has grown and generations are sealed. Returns (the exit code, or None if the server survived it,
    and the threads, which know what was under way when it died)."""
    threads = [Ingest(server, acked, "%s-%d" % (seed, n), n, steps=WORKLOAD_STEPS) for n in range(2)]
    died = False
    try:
        server.start()
        create(server)
        for thread in threads:
            thread.start()
        for _ in range(3):
            server.request("PUT", "/collections/other", {"vectors": {"size": 4, "distance": "Dot"},
                                                         "sparse_vectors": {"s": {}}})
            for _ in range(2):  # the first generation is mostly dead then
                server.request("PUT", "/collections/other/points?wait=true",
                               {"points": [{"id": i, "payload": {"a": "b%d" % i}, "vector": {
                                   "": [1, 2, 3, 4], "s": {"indices": [1, i + 2], "values": [1, 2]}}}
                                   for i in range(50)]})
            server.request("PUT", "/collections/other/index?wait=true",
                           {"field_name": "a", "field_schema": "keyword"})
            for i in range(3):
                server.request("POST", "/collections/other/points/payload?wait=true",
                               {"payload": {"a": "c%d" % i}, "points": [1, 2]})
            server.request("POST", "/collections/aliases", {"actions": [
                {"create_alias": {"collection_name": "other", "alias_name": "one"}},
                {"rename_alias": {"old_alias_name": "one", "new_alias_name": "two"}}]})
            server.request("PUT", "/collections/other/vectors/e?wait=true",
                           {"dense": {"size": 3, "distance": "Dot"}})
            server.request("PUT", "/collections/other/points/vectors?wait=true",
                           {"points": [{"id": i, "vector": {"e": [1, 2, i]}} for i in range(50)]})
            server.request("DELETE", "/collections/other/vectors/e?wait=true")
            server.request("POST", "/collections/other/compact?wait=true")
            server.request("POST", "/collections/c/compact?wait=true")
            server.request("DELETE", "/collections/other")
    except (OSError, http.client.HTTPException, RuntimeError):
        died = True  # below it is asked how; it may not be quite gone yet
    for thread in threads:
        if thread.ident is not None:
            thread.join()
        if thread.error:
            raise thread.error
    if not died and all(thread.alive for thread in threads) and server.process.poll() is None:
        return None, threads
    return server.process.wait(timeout=20), threads


def failpoint_cycle(name, hit):
    """Kill at the hit-th pass of a failpoint, check, restart, check. Was it reached?"""
    acked = {}
    with contextlib.closing(Server(config=dict(SMALL, **{"storage.map_initial_bytes": 4 << 20}))) as server:
        server.environment["KITH_FAILPOINT"] = "%s:%d" % (name, hit)
        code, threads = workload(server, acked, "at-%s-%d" % (name, hit))
        assert code in (None, KILLED_BY_FAILPOINT), "ended with %d: %s" % (code, server.tail())
        server.kill()
        del server.environment["KITH_FAILPOINT"]
        if os.path.exists(os.path.join(server.data, "catalog")):  # or nothing was ever there
            problems, text = verify(server.data)
            assert problems == 0, text
        begin = time.monotonic()
        server.start()
        names = server.result("GET", "/collections")["collections"]
        if {"name": "c"} not in names:
            assert not acked, "the collection of answered points has gone"
            create(server)
        server.result("POST", "/collections/c/points/query", {"query": vector("q"), "limit": 3})
        seconds = time.monotonic() - begin
        assert seconds < RESTART_SECONDS, "the first answer took %.2f s" % seconds
        check(server, acked, threads)
        for other in names:
            server.result("GET", "/collections/" + other["name"])
        for alias in server.result("GET", "/aliases")["aliases"]:
            assert (alias["alias_name"], alias["collection_name"]) == ("two", "other"), alias
            server.result("GET", "/collections/two")
        server.result("DELETE", "/collections/other")
    return code is not None


def main():
    seed = os.environ.get("SEED", "1")
    kill_cycles(int(os.environ.get("CYCLES", "50")), seed)
    build_kills(seed)
    passed, failed = 2, 0
    for name in sys.argv[1:] or failpoint_names():
        reached = [hit for hit in (1, 2, 3) if failpoint_cycle(name, hit)]
        print("%s failpoint %s: hits %s" % ("ok  " if reached else "FAIL", name, reached or "none: "
              "the workload does not come by it"), flush=True)
        passed, failed = passed + bool(reached), failed + (not reached)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
