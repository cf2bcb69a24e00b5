# SPDX-License-Identifier: GPL-2.0
"""How each test ended: what igt_runner and the qtests wrote, and how each VM ended."""

import re
import struct

# Of libigt, see enum runnerpacket_type in its runnercomms.h
LOG, EXEC, EXIT, START, RESULT, DYNAMIC_START, DYNAMIC_RESULT, _, OVERRIDE = range(1, 10)
CANARY_AND_HEADER = struct.Struct("=IIIii")
STDERR = 2

RUNNER_WORDS = {"SUCCESS": "pass", "SKIP": "skip", "FAIL": "fail", "CRASH": "crash",
                "TIMEOUT": "timeout"}
EXIT_WORDS = {0: "pass", 77: "skip", 79: "skip", 112: "abort"}

WHERE = re.compile(r"(?:Test assertion failure|Test requirement not met|Test abort) "
                   r"(?:in )?function \S+, file (\S+:\d+):")
PREFIX = re.compile(r"^(?:\[\d+\.\d+\] )?\(\S+:\d+\) (?:[\w/]+-)?[A-Z]+: ")


class Test:
    """The verdict on one test.

    result: igt_runner's word, or one of ours, see judge.py; found: igt_runner's word;
    why: if it is no pass; contains_failure: it failed because a dynamic subtest did;
    log: the kernel's lines under it
    """

    def __init__(self, name, result, seconds=0.0, out="", err="", why=""):
        self.name = name
        self.result = self.found = result
        self.seconds = seconds
        self.out = out
        self.err = err
        self.why = why
        self.contains_failure = False
        self.log = []

    @property
    def ok(self):
        return self.result in ("pass", "skip")

    def fail(self, result, why):
        """A further reason does not replace the first one."""
        if self.ok:
            self.result = result
            self.why = why
        else:
            self.why += "; " + why


def explanation(text):
    """File, line and words of the first assertion or requirement that did not hold."""
    lines = [PREFIX.sub("", line).strip() for line in text.splitlines()]
    for i, line in enumerate(lines):
        where = WHERE.search(line)
        if where:
            said = []
            for more in lines[i + 1:i + 5]:
                if more.startswith(("Stack trace", "Subtest ", "Dynamic subtest ")):
                    break
                if not more.startswith("Last errno"):
                    said.append(more)
            return "%s: %s" % (where[1].removeprefix("../"), "; ".join(filter(None, said)))
    for line in lines:
        if re.search(r"Received signal|caused an abort condition|Timeout", line):
            return line
    return next((line for line in lines if line), "see its log")


def packets(path):
    """What a test told igt_runner: (type, data). The last one may be cut off."""
    data = path.read_bytes()
    at = 0
    while at + CANARY_AND_HEADER.size <= len(data):
        _, size, kind, _, _ = CANARY_AND_HEADER.unpack_from(data, at)
        end = at + 4 + size
        if end > len(data):
            break
        yield kind, data[at + CANARY_AND_HEADER.size:end]
        at = end


def words(data):
    return data.decode(errors="replace").split("\0")


class Runner:
    """What igt_runner has received from the tests, complete or not.

    Its results.json is not there if the VM dies, and has other bytes as "err" where one process
    runs several subtests (comms_finish_subtest() of IGT 2.5 takes the index of "out").
    tests: [Test]; last: the name of the one that was at work
    """

    def __init__(self, directory):
        self.tests = []
        self.last = None
        runs = [path for path in directory.glob("*/comms") if path.parent.name.isdigit()]
        for path in sorted(runs, key=lambda path: int(path.parent.name)):
            self.read(path)
        for test in self.tests:
            if test.result == "pass" and test.err.strip():
                test.result = "warn"
            test.found = test.result
            if test.result == "incomplete":
                test.why = "it did not end"
            elif test.result != "pass":
                test.why = explanation(test.err + "\n" + test.out)

    def read(self, path):
        self.begin_binary()
        for kind, data in packets(path):
            if kind == EXEC:
                self.begin_binary("igt@" + words(data)[0].split(" ")[0].rpartition("/")[2].lower())
            elif kind == LOG:
                self.log("err" if data[0] == STDERR else "out", words(data[1:])[0])
            elif kind == START:
                self.begin_subtest(words(data)[0])
            elif kind == DYNAMIC_START:
                self.begin_dynamic(words(data)[0])
            elif kind in (RESULT, DYNAMIC_RESULT):
                self.end(kind, *words(data)[:3])
            elif kind == OVERRIDE:
                self.override(words(data)[0])
            elif kind == EXIT:
                self.exit(struct.unpack_from("=i", data)[0])

    def begin_binary(self, name=None):
        """Also that of a process which goes on after one that was killed"""
        self.binary = Test(name, "incomplete")
        self.subtest = self.dynamic = None
        self.last = name or self.last

    def add(self, name):
        test = Test(name.lower(), "incomplete")
        self.tests.append(test)
        self.last = test.name
        return test

    def begin_subtest(self, name):
        self.subtest = self.add("%s@%s" % (self.binary.name, name))
        self.dynamic = None

    def begin_dynamic(self, name):
        self.dynamic = self.add("%s@%s" % (self.subtest.name, name))
        self.log("out", "Starting dynamic subtest: %s\n" % name)

    def log(self, stream, text):
        for test in (self.binary, self.subtest, self.dynamic):
            if test:
                setattr(test, stream, getattr(test, stream) + text)

    def end(self, kind, name, result, seconds):
        # Without a start: a fixture made it skip or fail
        if kind == RESULT and not (self.subtest and self.subtest.name.endswith("@" + name.lower())):
            self.begin_subtest(name)
        test = self.subtest if kind == RESULT else self.dynamic
        if test.result == "incomplete":
            test.result = RUNNER_WORDS.get(result, "incomplete")
        test.seconds = float(seconds)
        if kind == DYNAMIC_RESULT:
            self.log("out", "Dynamic subtest %s: %s\n" % (name, result))
            self.dynamic = None

    def override(self, result):
        for test in (self.dynamic, self.subtest):
            if test:
                test.result = result

    def exit(self, code):
        """A binary without subtests, or one that failed outside of them"""
        result = EXIT_WORDS.get(code, "fail")
        mine = [test for test in self.tests if test.name.startswith(self.binary.name + "@")]
        if not mine or result == "fail" and all(test.ok for test in mine):
            self.binary.result = result
            self.tests.append(self.binary)
            self.last = self.binary.name


def of_qtests(path):
    """The tests in a TAP file"""
    tests = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            match = re.match(r"(ok|not ok) \d+ (.*?)(?: # (SKIP.*))?$", line.rstrip("\n"))
            if match:
                result = "skip" if match[3] else "pass" if match[1] == "ok" else "fail"
                tests.append(Test("qtest@" + match[2], result, why=match[3] or "see qtest.txt"
                                  if result != "pass" else ""))
    return tests
