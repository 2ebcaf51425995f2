"""Which error texts no test reaches: `make error-texts`.

The list is read from the sources: every string that a call of one of CALLS hands on. A build that counts
lines (gcov) then says which of these calls ran while those unit tests and the end-to-end tests did that the Makefile names.
Texts that only a failing disk, a race or a bug can bring about are in tests/error_texts.txt, each with
its reason; any other text that was not reached is a failure, and so is one there that is no more.

error_texts.py list             the texts by place
error_texts.py run BUILD TEST...  run the unit tests named and all of tests/e2e from BUILD, then report
error_texts.py report BUILD     compare with the counts under BUILD"""
import glob
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CALLS = """request_fail request_fail_headers call_fail refuse refuse_request refuse_rule json_fail json_fail_within judge_format
    judge_wrong bulk_refuse http_exchange_refuse fail wrong wrong_type judge_range refuse_limit""".split()
SKIP = ("server/main.c", "server/config.c", "server/log.c")  # the program's own texts, for its operator
TOKEN = re.compile(r'\'(?:[^\'\\]|\\.)+\'|"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|//[^\n]*|/\*.*?\*/|\s+|.', re.S)
SECONDS = 600  # of one test
KNOWN = os.path.join(ROOT, "tests", "error_texts.txt")


def tokens(text):
    line = 1
    for token in TOKEN.findall(text):
        if not token.isspace() and not token.startswith(("/*", "//")):
            yield token, line
        line += token.count("\n")


def texts_of(path):
    """(first line of the call, last line, text) of every error text in a source file."""
    with open(os.path.join(ROOT, path)) as file:
        items = list(tokens(file.read()))
    for at, (token, line) in enumerate(items):
        if token not in CALLS or at + 1 == len(items) or items[at + 1][0] != "(":
            continue
        depth, text, found, end = 0, "", [], at + 1
        while True:
            word, last = items[end]
            depth += (word == "(") - (word == ")")
            if word.startswith('"'):
                text += word[1:-1]
            elif not (text and word.startswith("PRI")):  # a format's macro stands between two literals
                found.append(text)
                text = ""
            if depth == 0:
                break
            end += 1
        definition = items[end + 1][0] in "{_" or items[end + 1][0].startswith("__attribute__")
        for text in found:
            if " " in text.strip() and not text.startswith("Accept-") and not definition:
                yield line, last, text


def all_texts():
    for path in sorted(glob.glob("server/*.c", root_dir=ROOT) + glob.glob("index/*.c", root_dir=ROOT)):
        if path not in SKIP:
            for first, last, text in texts_of(path):
                yield path, first, last, text


def counts(build, path):
    """{line: how often it ran} of a source file; None if nothing of it ran."""
    data = os.path.join(build, path[:-2] + ".gcda")
    if not os.path.exists(data):
        return None
    done = subprocess.run(["gcov", "-j", "-t", data], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    out = {}
    for file in json.loads(done.stdout.splitlines()[0])["files"]:
        if file["file"] == path:
            for line in file["lines"]:
                out[line["line_number"]] = max(out.get(line["line_number"], 0), line["count"])
    return out


def known():
    """{(path, text): reason}."""
    out = {}
    with open(KNOWN) as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                path, text, reason = line.rstrip("\n").split("\t")
                out[path, text] = reason
    return out


def report(build):
    allowed, cache, missed, reached, total = known(), {}, [], set(), 0
    for path, first, last, text in all_texts():
        total += 1
        if path not in cache:
            cache[path] = counts(build, path)
        lines = cache[path] or {}
        # the call's own line counts; a call within a longer expression may have its count a line further on
        own = next((lines[n] for n in range(first, last + 1) if n in lines), 0)
        if own > 0:
            reached.add((path, text))
        else:
            missed.append((path, first, text))
    new = [item for item in missed if (item[0], item[2]) not in allowed]
    for path, line, text in new:
        print("no test reaches %s:%d: %s" % (path, line, text))
    texts = {(path, text) for path, _, _, text in all_texts()}
    stale = [item for item in allowed if item not in texts]
    for path, text in stale:
        print("in tests/error_texts.txt, but no more in the source: %s: %s" % (path, text))
    for path, text in sorted(set(allowed) & reached):
        print("in tests/error_texts.txt, but reached this time: %s: %s" % (path, text))
    print("%d error texts, %d reached, %d known not to be" % (total, total - len(missed), len(missed) - len(new)))
    print("%d passed, %d failed" % (total - len(new) - len(stale), len(new) + len(stale)))
    return 1 if new or stale else 0


def run(build, tests):
    """Quietly: that the tests pass is other targets' to say."""
    for path in glob.glob(os.path.join(build, "**", "*.gcda"), recursive=True):
        os.unlink(path)
    environment = dict(os.environ, KITH=os.path.join(build, "kith"), KITH_COVERAGE="1")
    python = os.environ.get("PYTHON", sys.executable)
    for command in [[test] for test in tests] + [[python, script] for script in sorted(glob.glob("tests/e2e/*_test.py"))]:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=SECONDS)
        print("%s %s" % ("ok  " if done.returncode == 0 else "FAIL", command[-1]), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run(sys.argv[2], sys.argv[3:])
        sys.exit(report(sys.argv[2]))
    if sys.argv[1:2] == ["report"]:
        sys.exit(report(sys.argv[2]))
    for path, first, _, text in all_texts():
        print("%s:%d: %s" % (path, first, text))
