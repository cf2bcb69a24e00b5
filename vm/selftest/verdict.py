# SPDX-License-Identifier: GPL-2.0
"""Is the judge honest? Makes the files of a run, breaks one thing at a time, and wants the sentence.

usage: verdict.py DIR
"""

import pathlib
import re
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "verdict"))
import results  # noqa: E402

JUDGE = pathlib.Path(results.__file__).parent

TESTS = """igt@one@alpha\tpass
igt@one@beta\tpass
igt@one@beta@x\tpass
igt@one@beta@y\tpass
igt@two@gamma\tskip\tthe VM has no such thing
vm@driver\tpass
vm@kexec\tpass
qtest@/vpfn/reset\tpass
"""
MESSAGES = """igt@one@alpha\talways\tvpfn <pci>: reset <n>
igt@one@beta\talways+stack\tone invoked oom-killer
igt@two\tsometimes\tlate
"""
VMS = "driver\tone\ndriver\ttwo\n"

STACK = ["CPU: 1 UID: 0 PID: 7 Comm: one Not tainted 7.3.4 #1", "Call Trace:", " <TASK>",
         " dump_stack_lvl+0x5d/0x80", " </TASK>"]


class Log:
    """A kernel log as /dev/kmsg has it"""

    def __init__(self):
        self.records = []
        self.say(6, "Linux version 7.3.4")
        self.say(4, "a warning at boot")

    def say(self, level, *texts):
        for text in texts:
            self.records.append("%d,%d,1000,-;%s" % (level, len(self.records), text))

    def write(self, path):
        path.write_text("".join(record + "\n" for record in self.records))


class Binary:
    """What igt_runner received from a process"""

    def __init__(self, log, name):
        self.log = log
        self.name = name
        self.data = b""
        self.packet(results.EXEC, "/tmp/tests/" + name)
        log.say(6, "[IGT] %s: executing" % name)

    def packet(self, kind, *texts, head=b""):
        body = head + b"".join(text.encode() + b"\0" for text in texts)
        self.data += results.CANARY_AND_HEADER.pack(0x12345678, 16 + len(body), kind, 1, 1) + body

    def start(self, name):
        self.log.say(6, "[IGT] %s: starting subtest %s" % (self.name, name))
        self.packet(results.START, name)

    def end(self, name, result="SUCCESS"):
        self.packet(results.RESULT, name, result, "0.5", "")

    def dynamic(self, name, result="SUCCESS", out="", err=""):
        self.log.say(6, "[IGT] %s: starting dynamic subtest %s" % (self.name, name))
        self.packet(results.DYNAMIC_START, name)
        self.packet(results.LOG, out, head=b"\1")
        if err:
            self.packet(results.LOG, err, head=b"\2")
        self.packet(results.DYNAMIC_RESULT, name, result, "0.5", "")

    def exit(self, code=0):
        self.packet(results.EXIT, "1.0", head=struct.pack("=i", code))


class Run:
    """The files of a run in which everything is as listed. A case changes its attributes."""

    def __init__(self):
        self.tests = TESTS
        self.messages = MESSAGES
        self.status = {"driver": "0 10", "kexec": "0 10"}
        self.sentence = {"driver": "", "kexec": ""}
        self.tap = "1..1\nok 1 /vpfn/reset\n"
        self.console = "[ 1.0] vpfn-check: kexec\n[ 0.0] Linux version 7.3.4\n"
        self.log = Log()
        self.log.say(4, "vpfn-check: begin")
        self.one = Binary(self.log, "one")
        self.one.start("alpha")
        self.log.say(4, "vpfn 0000:01:00.0: reset 3")
        self.one.end("alpha")
        self.one.start("beta")
        self.one.dynamic("x", out="cell\ttable\trow\tcolumn\tworks\n")
        self.log.say(4, "one invoked oom-killer", *STACK)
        self.one.dynamic("y", out="cell\ttable\trow\tcolumn\tworks\n")
        self.one.end("beta")
        self.one.exit()
        self.two = Binary(self.log, "two")
        self.two.start("gamma")
        self.two.end("gamma", "SKIP")
        self.two.exit(77)
        self.log.say(4, "vpfn-check: unload", "vpfn-check: end", "sysrq: Power Off")
        self.kexec = Log()
        self.kexec.say(4, "vpfn-check: begin", "vpfn-check: kexec")
        self.next = Log()
        self.next.say(4, "vpfn-check: begin", "vpfn-check: unload", "vpfn-check: end")

    def insert(self, after, level, *texts):
        """Into the log, after the first record with these words"""
        at = next(i for i, record in enumerate(self.log.records) if after in record) + 1
        rest = self.log.records[at:]
        del self.log.records[at:]
        self.log.say(level, *texts)
        self.say_again(rest)

    def remove(self, words):
        records = [record for record in self.log.records if words not in record]
        self.log.records.clear()
        self.say_again(records)

    def say_again(self, records):
        """With numbers that are their turn"""
        for record in records:
            head, text = record.split(";", 1)
            self.log.say(int(head[0]), text)

    def write(self, directory):
        shutil.rmtree(directory, ignore_errors=True)
        for part in ("lists", "driver/guest/results/0", "driver/guest/results/1", "kexec/guest"):
            (directory / part).mkdir(parents=True)
        (directory / "lists/tests.txt").write_text(self.tests)
        (directory / "lists/messages.txt").write_text(self.messages)
        (directory / "lists/vms.txt").write_text(VMS)
        (directory / "selection").write_text("\n")
        (directory / "qtest.tap").write_text(self.tap)
        for vm, status in self.status.items():
            (directory / (vm + ".status")).write_text(status)
            (directory / (vm + ".txt")).write_text(self.sentence[vm])
        for n, binary in enumerate((self.one, self.two)):
            (directory / ("driver/guest/results/%d/comms" % n)).write_bytes(
                binary.data if binary else b"")
        self.log.write(directory / "driver/guest/kernel.log")
        self.kexec.write(directory / "kexec/guest/kernel.log")
        self.next.write(directory / "kexec/guest/kernel-next.log")
        (directory / "kexec/console.log").write_text(self.console)


CASES = []


def case(verdict, *sentences):
    def register(change):
        CASES.append((change.__name__.replace("_", "-"), verdict, sentences, change))
    return register


@case("pass", "^7 passed, 0 failed, 1 skipped$")
def nothing_broken(run):
    del run


@case("fail", "^missing: igt@one@alpha: ")
def missing_subtest(run):
    run.one = Binary(Log(), "one")
    run.one.start("beta")
    run.one.dynamic("x")
    run.one.dynamic("y")
    run.one.end("beta")
    run.one.exit()


@case("fail", "^missing: igt@one@beta@z: ", "^7 passed, 1 failed, 1 skipped$")
def missing_dynamic_subtest(run):
    run.tests += "igt@one@beta@z\tpass\n"


@case("fail", "^missing: igt@two@gamma: ")
def missing_binary(run):
    run.two = None


@case("fail", "^missing: qtest@/vpfn/reset: ")
def missing_qtest(run):
    run.tap = "1..0\n"


@case("fail", "^missing: vm@kexec: ")
def missing_vm(run):
    del run.status["kexec"]


@case("fail", "^unlisted: igt@one@beta@y: ")
def unlisted_subtest(run):
    run.tests = run.tests.replace("igt@one@beta@y\tpass\n", "")


@case("fail", "^unexpected-skip: igt@two@gamma: ")
def unlisted_skip(run):
    run.tests = run.tests.replace("gamma\tskip", "gamma\tpass")


@case("fail", "^unexpected-pass: igt@one@alpha: ")
def listed_skip_that_passes(run):
    run.tests = run.tests.replace("alpha\tpass", "alpha\tskip")


@case("fail", "^dmesg-warn: igt@one@beta@y: the kernel said: a warning$")
def unlisted_message(run):
    run.insert("dynamic subtest y", 4, "a warning")


@case("fail", "^dmesg-warn: igt@one@beta@x: the kernel said: vpfn 0000:01:00.0: reset 3$")
def listed_message_of_another_test(run):
    run.insert("dynamic subtest x", 4, "vpfn 0000:01:00.0: reset 3")


@case("fail", "^dmesg-warn: vm@driver: the kernel said: vpfn is in use$")
def message_at_unload(run):
    run.insert("vpfn-check: unload", 3, "vpfn is in use")


@case("fail", "^dmesg-warn: igt@one@beta@x: .*BUG: KASAN: use-after-free in drm_x.0x1/0x2")
def report_after_listed_stack_dump(run):
    run.insert("dump_stack_lvl", 3, "BUG: KASAN: use-after-free in drm_x+0x1/0x2", *STACK)


@case("fail", "^dmesg-warn: igt@one@alpha: the kernel said: CPU: 1 .* more lines")
def stack_dump_after_another_message(run):
    run.insert("reset 3", 4, *STACK)


@case("fail", "^dmesg-missing: igt@one@alpha: the kernel did not say: vpfn <pci>: reset <n>$")
def listed_message_that_does_not_come(run):
    run.remove("reset 3")


@case("fail", "must not excuse the report of a bug: WARNING: ")
def listed_report_of_a_bug(run):
    run.messages += "igt@one@alpha\talways\tWARNING: at vpfn.c:1\n"


@case("fail", "^fail: vm@driver: the VM hung: x, in igt@one@beta@x$",
      "^missing: 2 listed tests that did not run, the first of them igt@one@beta@y")
def hang(run):
    run.status["driver"] = "202 40"
    run.sentence["driver"] = "vpfn: the VM hung: x\n"
    run.one = Binary(Log(), "one")
    run.one.start("alpha")
    run.one.end("alpha")
    run.one.start("beta")
    run.one.packet(results.DYNAMIC_START, "x")
    run.two = None


@case("fail", "^fail: vm@driver: the program failed with exit code 137, in igt@one@alpha$")
def runner_that_dies(run):
    run.status["driver"] = "137 40"
    run.sentence["driver"] = "vpfn: the program failed with exit code 137\n"
    run.one = Binary(Log(), "one")
    run.one.start("alpha")
    run.two = None


@case("fail", "^crash: igt@one@alpha: Received signal SIGSEGV",
      "^missing: 3 listed tests .* .crash: igt@one@alpha")
def test_that_crashes(run):
    run.one = Binary(Log(), "one")
    run.one.start("alpha")
    run.one.packet(results.LOG, "Received signal SIGSEGV.\n", head=b"\2")
    run.one.end("alpha", "CRASH")
    run.one.exit(-11)


@case("fail", r"^fail: igt@one@beta@z: tests/igt/one.c:12: Failed assertion: a == b; error: 1 != 2;")
def failed_assertion(run):
    run.tests += "igt@one@beta@z\tpass\n"
    run.one = Binary(Log(), "one")
    run.one.start("alpha")
    run.one.end("alpha")
    run.one.start("beta")
    run.one.dynamic("x")
    run.one.dynamic("y")
    run.one.dynamic("z", "FAIL", err=(
        "(one:7) CRITICAL: Test assertion failure function f, file tests/igt/one.c:12:\n"
        "[1.5] (one:7) CRITICAL: Failed assertion: a == b\n(one:7) CRITICAL: error: 1 != 2\n"
        "(one:7) CRITICAL: a message\n"))
    run.one.end("beta", "FAIL")
    run.one.exit(98)


@case("fail", "^warn: igt@one@beta@y: something is odd$")
def warning_of_a_test(run):
    run.one = Binary(Log(), "one")
    run.one.start("alpha")
    run.one.end("alpha")
    run.one.start("beta")
    run.one.dynamic("x")
    run.one.dynamic("y", err="(one:7) WARNING: something is odd\n")
    run.one.end("beta")
    run.one.exit()


@case("fail", "^fail: igt@one: ")
def failure_outside_of_subtests(run):
    run.one.data = run.one.data[:-len("1.0\0") - 24]
    run.one.exit(98)


@case("fail", "^fail: matrix@table gives works and EFAULT as the answer of row on column: ")
def two_tests_that_disagree(run):
    run.one = Binary(Log(), "one")
    run.one.start("alpha")
    run.one.end("alpha")
    run.one.start("beta")
    run.one.dynamic("x", out="cell\ttable\trow\tcolumn\tworks\n")
    run.one.dynamic("y", out="cell\ttable\trow\tcolumn\tEFAULT\n")
    run.one.end("beta")
    run.one.exit()


@case("fail", "^dmesg-warn: vm@kexec: the kernel said: WARNING: at vpfn.c:1$")
def kexec_that_warns(run):
    run.console = run.console.replace("[ 0.0] Linux", "[ 1.1] WARNING: at vpfn.c:1\n[ 0.0] Linux")


@case("fail", "^dmesg-warn: vm@kexec: the kernel said: the engine is on$")
def next_kernel_that_warns(run):
    run.next = Log()
    run.next.say(4, "vpfn-check: begin", "the engine is on", "vpfn-check: end")


@case("fail", "^fail: vm@driver: its kernel log lacks 1 records$")
def lost_record(run):
    del run.log.records[4]


@case("fail", "^fail: vm@driver: its kernel log was cut off$")
def log_that_is_cut_off(run):
    run.log.records = run.log.records[:-3]


def main():
    base = pathlib.Path(sys.argv[1])
    failures = 0
    for name, verdict, sentences, change in CASES:
        run = Run()
        change(run)
        directory = base / name
        run.write(directory)
        done = subprocess.run(
            [sys.executable, "-B", JUDGE, "--lists", directory / "lists", directory],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        got = "fail" if done.returncode else "pass"
        found = [re.search(sentence, done.stdout, re.MULTILINE) for sentence in sentences]
        if got == verdict and all(found):
            print("ok: %s: %s" % (name, found[0][0]))
        else:
            failures += 1
            print("NOT OK: %s: wanted a %s with %s, got a %s:\n%s" % (
                name, verdict, sentences, got, done.stdout))
    sys.exit(failures > 0)


main()
