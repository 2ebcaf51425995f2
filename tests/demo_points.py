"""The sample as NDJSON on standard output: {"id", "vector", "payload": {"word"}} a line."""
import json
import os
import sys

import numpy as np

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "words-10k")
vectors = np.load(os.path.join(FOLDER, "words.npy")).astype(np.float32)
with open(os.path.join(FOLDER, "words.txt")) as words:
    for i, (word, vector) in enumerate(zip(words.read().split(), vectors)):
        point = {"id": i, "vector": [float(x) for x in vector], "payload": {"word": word}}
        sys.stdout.write(json.dumps(point) + "\n")
