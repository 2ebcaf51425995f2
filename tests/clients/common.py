"""What the Python client tests share: where the server is, embeddings without a network, the verdict."""
import hashlib
import math
import os
import sys
import unittest

URL = os.environ.get("KITH_URL", "http://127.0.0.1:6333")
DIM = 32


def embed(text, dim=DIM):
    """A unit vector that depends on the words alone, so that texts with words in common are near."""
    vector = [0.0] * dim
    for word in text.lower().split():
        digest = hashlib.sha256(word.encode()).digest()
        for i in range(dim):
            vector[i] += digest[i % 32] / 127.5 - 1.0
    norm = math.sqrt(sum(v * v for v in vector)) or 1.0
    return [v / norm for v in vector]


def main():
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
