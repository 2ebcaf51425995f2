"""Install the published clients, pinned, under build/clients, and run every script here against a
fresh server. Installed once: again only when the pins change. A client that cannot be installed is
a failure. `run.py langchain` runs the scripts with that in their name."""
import glob
import hashlib
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from kith import ROOT, Server

HOME = os.path.join(ROOT, "build", "clients")
SECONDS = 600  # of one script


def fresh(directory, pins, install):
    """Run install(directory) unless these pins are what is there."""
    digest = hashlib.sha256(b"".join(open(os.path.join(HERE, pin), "rb").read() for pin in pins)).hexdigest()
    stamp = os.path.join(directory, "pins")
    if os.path.exists(stamp) and open(stamp).read() == digest:
        return
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    print("installing " + " ".join(pins), flush=True)
    install(directory)
    with open(stamp, "w") as out:
        out.write(digest)


def install_python(directory):
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    subprocess.run([os.path.join(directory, "bin", "pip"), "install", "-q", "--disable-pip-version-check",
                    "-r", os.path.join(HERE, "requirements.txt")], check=True)


def install_js(directory):
    version = subprocess.run(["node", "--version"], stdout=subprocess.PIPE, check=True).stdout.decode()
    if int(version.lstrip("v").split(".")[0]) < 20:
        sys.exit("the JS clients need Node 20 or newer, this is " + version)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(HERE, name), directory)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
                   cwd=directory, check=True)


def commands(word):
    """(name, command, working directory) of every script."""
    python, js = os.path.join(HOME, "python"), os.path.join(HOME, "js")
    for path in sorted(glob.glob(os.path.join(HERE, "*_test.py"))):
        if word in os.path.basename(path):
            fresh(python, ["requirements.txt"], install_python)
            yield os.path.basename(path), [os.path.join(python, "bin", "python"), path], HERE
    for path in sorted(glob.glob(os.path.join(HERE, "*_test.mjs"))):
        if word in os.path.basename(path):
            fresh(js, ["package.json", "package-lock.json"], install_js)
            for name in ("common.mjs", os.path.basename(path)):  # modules are looked up beside the script
                shutil.copy(os.path.join(HERE, name), js)
            yield os.path.basename(path), ["node", os.path.join(js, os.path.basename(path))], js


def main():
    passed = failed = 0
    for name, command, directory in commands(sys.argv[1] if len(sys.argv) > 1 else ""):
        print("---- " + name, flush=True)
        with Server() as server:
            environment = dict(os.environ, KITH_ROOT=ROOT, KITH_URL="http://127.0.0.1:%d" % server.port, NO_PROXY="127.0.0.1",
                               no_proxy="127.0.0.1", PYTHONDONTWRITEBYTECODE="1")
            done = subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=SECONDS)
        text = done.stdout.decode("utf-8", "replace")
        print(text, end="", flush=True)
        words = text.strip().splitlines()[-1].split() if text.strip() else []
        counts = [int(w) for w in words if w.isdigit()]
        if len(counts) != 2 or (done.returncode != 0 and counts[1] == 0):
            counts = [0, 1]
        passed, failed = passed + counts[0], failed + counts[1]
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
