"""clients/curl/README.md, run as it stands against a fresh server; each reply holds what the page says."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from kith import ROOT, Server

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def differs(shown, got, at="result"):
    """Where the reply is not what is shown: objects may hold more, all else is equal. None: nowhere."""
    if isinstance(shown, dict) and isinstance(got, dict):
        for key, value in shown.items():
            if key not in got:
                return "%s has no %s" % (at, key)
            found = differs(value, got[key], at + "." + key)
            if found:
                return found
        return None
    if isinstance(shown, list) and isinstance(got, list) and len(shown) == len(got):
        return next(filter(None, (differs(a, b, "%s[%d]" % (at, i)) for i, (a, b) in enumerate(zip(shown, got)))), None)
    if isinstance(shown, float) and isinstance(got, float) and abs(shown - got) <= 1e-6 * abs(shown):
        return None
    return None if type(shown) is type(got) and shown == got else "%s is %.200r, not %.200r" % (at, got, shown)


class Recipes(unittest.TestCase):
    def test_curl(self):
        with open(os.path.join(ROOT, "clients", "curl", "README.md")) as page:
            blocks = BLOCK.findall(page.read())
        self.assertGreater(len(blocks), 50)
        directory = tempfile.mkdtemp(prefix="kith-recipes-")
        try:
            with Server() as server:
                environment = dict(os.environ, KITH="http://127.0.0.1:%d" % server.port, no_proxy="127.0.0.1", NO_PROXY="127.0.0.1")
                output = None
                for kind, text in blocks:
                    if kind == "sh":
                        done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=directory, env=environment,
                                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
                        self.assertEqual(done.returncode, 0, (text, done.stdout, done.stderr))
                        output = done.stdout
                        if output.startswith(b"{"):
                            self.assertIn("result", json.loads(output), text)
                    else:
                        found = differs(json.loads(text), json.loads(output)["result"])
                        self.assertIsNone(found, "%s\n%s" % (text, output.decode()))
        finally:
            shutil.rmtree(directory)

    def test_the_comparison_can_fail(self):
        for shown, got in [({"a": 1}, {}), ([1], [1, 2]), (1, 1.0), (True, 1), ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}), (1.0, 1.1), (None, {})]:
            self.assertIsNotNone(differs(shown, got), (shown, got))
        self.assertIsNone(differs({"a": [{"b": 1.0}]}, {"a": [{"b": 1.0, "c": 2}], "d": 3}))


if __name__ == "__main__":
    outcome = unittest.main(exit=False, verbosity=1).result
    bad = len(outcome.failures) + len(outcome.errors)
    print("%d passed, %d failed" % (outcome.testsRun - bad, bad))
    sys.exit(1 if bad else 0)
