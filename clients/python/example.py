#!/usr/bin/env python3
"""Upload a matrix and a stream of points, then ask. Needs a running kith: example.py [http://localhost:6333]"""
import random
import sys

from kith_extras import Kith, KithError

kith = Kith(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:6333")
random.seed(1)

# A matrix: a NumPy array (any dtype), or lists as here. The collection is made.
vectors = [[random.gauss(0, 1) for _ in range(16)] for _ in range(1000)]
kith.call("DELETE", "/collections/example")
print(kith.upload("example", vectors, first_id=0, distance="Cosine"), "vectors stored")

# Points with payloads, from anything that can be iterated; never all in memory.
points = ({"id": 1000 + i, "vector": vectors[i], "payload": {"copy_of": i}} for i in range(1000))
print(kith.upload_points("example", points), "points stored")

# Any other route, if the official client is not at hand.
found = kith.call("POST", "/collections/example/points/query", {"query": vectors[7], "limit": 2, "with_payload": True})
for point in found["points"]:
    print(point["id"], round(point["score"], 4), point["payload"])

# All points, or those of a filter, one after the other; never all in memory.
lines = sum(1 for point in kith.export("example", filter={"must": [{"key": "copy_of", "range": {"lt": 5}}]}))
print(lines, "points exported")

# A row that is refused is named, and what came before it is kept.
try:
    kith.upload_points("example", [{"id": 1, "vector": vectors[1]}, {"id": 2, "vector": [1, 2, 3]}])
except KithError as error:
    print("refused:", error.text, "- accepted:", error.accepted)
