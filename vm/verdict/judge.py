# SPDX-License-Identifier: GPL-2.0
"""Which tests ended as the lists of tests/check/ say?

Results beside those of igt_runner: "missing", "unlisted", "unexpected-skip", "unexpected-pass",
"dmesg-warn" for a message that is not listed, "dmesg-missing" for a listed one that did not come.
"""

import json
import re

import matrix
from kernel_log import KernelLog, console_after_kexec, proposals, unexpected
from lists import Message
from results import Runner, Test, of_qtests


class Machine:
    """How a VM ended, and what it left.

    code: of boot.sh; sentence: its last one
    """

    def __init__(self, directory, name, runs_tests):
        self.name = name
        self.directory = directory / name
        code, seconds = (directory / (name + ".status")).read_text().split()
        self.code = int(code)
        self.seconds = float(seconds)
        said = (directory / (name + ".txt")).read_text().splitlines()
        self.sentence = said[-1].removeprefix("vpfn: ") if said else "exit code %d" % self.code
        self.runner = Runner(self.directory / "guest" / "results")
        self.logs = [KernelLog(name, path, runs_tests) for path in
                     sorted((self.directory / "guest").glob("kernel*.log"))]
        self.lines = self.read_lines()

    def read_lines(self):
        lines = []
        for log in self.logs:
            lines += log.lines
            if log.marks[-1:] == ["kexec"]:
                lines += console_after_kexec(self.name, self.directory / "console.log")
        return lines

    def complaints(self):
        if self.code:
            yield self.sentence + (", in " + self.runner.last if self.runner.last else "")
            return
        if not self.logs:
            yield "it left no kernel log"
        for log in self.logs:
            if log.marks[-1:] not in (["end"], ["kexec"]):
                yield "its kernel log was cut off"
            if log.lost:
                yield "its kernel log lacks %d records" % log.lost

    def verdict(self):
        test = Test("vm@" + self.name, "pass", self.seconds)
        for complaint in self.complaints():
            test.fail("fail", complaint)
        return test


def blame(tests, lines, messages):
    """Each line that is not expected fails its test."""
    found = {}
    for line in unexpected(lines, messages):
        found.setdefault(line.test, []).append(line.text)
    for name, texts in found.items():
        tests.setdefault(name, Test(name, "pass")).fail(
            "dmesg-warn", "the kernel said: " + first_of(texts))


def first_of(texts):
    return texts[0] + (" (and %d more lines)" % (len(texts) - 1) if len(texts) > 1 else "")


class Judgement:
    """tests: {name: Test}; early_ends: {why: [names of tests that did not run for that reason]}"""

    def __init__(self, directory, lists, regex=None):
        self.lists = lists
        self.regex = re.compile(regex, re.IGNORECASE) if regex else None
        names = sorted(path.stem for path in directory.glob("*.status"))
        self.machines = {name: Machine(directory, name, name in lists.vms.values())
                         for name in names}
        self.tests = {}
        self.early_ends = {}
        self.add_results(directory / "qtest.tap")
        self.compare_with_list()
        self.find_missing()
        self.judge_messages()
        self.find_contained_failures()
        self.tables = matrix.tables(self.tests.values())
        for sentence in matrix.contradictions(self.tables):
            self.get("matrix@" + sentence).fail("fail", "two tests disagree")

    def selected(self, name):
        """As igt_runner's --include-tests, which sees a binary or a subtest"""
        if not self.regex:
            return True
        parts = name.split("@")
        return bool(self.regex.search("@".join(parts[:3])) or
                    parts[0] == "igt" and self.regex.search(parts[1]))

    def get(self, name):
        return self.tests.setdefault(name, Test(name, "pass"))

    def add_results(self, qtests):
        tests = of_qtests(qtests) if qtests.exists() else []
        for machine in self.machines.values():
            tests += machine.runner.tests + [machine.verdict()]
        self.tests = {test.name: test for test in tests}

    def compare_with_list(self):
        for test in self.tests.values():
            expected, reason = self.lists.tests.get(test.name, (None, None))
            if not expected:
                test.fail("unlisted", "it is not in tests.txt")
            elif expected == "skip" and test.result == "pass":
                test.fail("unexpected-pass", "it is listed as a skip: " + reason)
            elif expected == "skip" and test.result == "skip":
                test.why = reason
            elif test.result == "skip":
                test.result = "unexpected-skip"

    def find_missing(self):
        for name in self.lists.tests:
            if name in self.tests or not self.selected(name):
                continue
            why = self.early_end(name)
            if why:
                self.early_ends.setdefault(why, []).append(name)
            test = self.get(name)
            test.fail("missing", why or "it is in tests.txt, but did not run")

    def early_end(self, name):
        """What made a test that is listed end before it began"""
        machine = self.machines.get(self.lists.vm_of(name))
        if not machine:
            return None
        if machine.code:
            return "the VM %s ended early" % machine.name
        binary = "@".join(name.split("@")[:2])
        for other in machine.runner.tests:
            if other.found in ("crash", "timeout", "abort", "incomplete") and \
               other.name.startswith(binary):
                return "%s: %s" % (other.found, other.name)
        subtest = self.tests.get("@".join(name.split("@")[:3]))
        if subtest and subtest.name != name and subtest.result != "missing" and not subtest.ok:
            return "%s: %s" % (subtest.result, subtest.name)
        return None

    def judge_messages(self):
        for machine in self.machines.values():
            blame(self.tests, machine.lines, self.lists.messages)
            for line in machine.lines:
                if line.test in self.tests:
                    self.tests[line.test].log.append(line)
        absent = {}
        for message in self.lists.messages:
            if message.due and not message.came and self.ended_well(message.test):
                absent.setdefault(message.test, []).append(message.text)
        for name, texts in absent.items():
            self.get(name).fail("dmesg-missing", "the kernel did not say: " + first_of(texts))

    def ended_well(self, name):
        """Did the test run so far that its messages have to be there?"""
        inside = [test for test in self.tests.values()
                  if test.name == name or test.name.startswith(name + "@")]
        return bool(inside) and all(test.found in ("pass", "skip") and test.result != "missing"
                                    for test in inside)

    def find_contained_failures(self):
        for test in self.tests.values():
            subtest = self.tests.get("@".join(test.name.split("@")[:3]))
            if test.name.count("@") == 3 and not test.ok and subtest and \
               subtest.found in ("fail", test.found):
                subtest.contains_failure = True

    def counts(self):
        passed = sum(test.result == "pass" for test in self.tests.values())
        skipped = sum(test.result == "skip" for test in self.tests.values())
        return passed, len(self.tests) - passed - skipped, skipped

    def failures(self):
        """Those tests that have a reason of their own, in the order in which they ran"""
        early = {name for names in self.early_ends.values() for name in names}
        return [test for test in self.tests.values()
                if not test.ok and not test.contains_failure and test.name not in early]

    def sentences(self):
        for test in self.failures():
            yield "%s: %s: %s" % (test.result, test.name, test.why)
        for why, names in self.early_ends.items():
            yield "missing: %d listed tests that did not run, the first of them %s (%s)" % (
                len(names), names[0], why)
        if any(test.result == "unlisted" for test in self.tests.values()):
            yield "vm/check.sh --update-lists would add what is unlisted"

    def merged_json(self):
        """igt_runner's files of all VMs in one"""
        merged = {"tests": {}}
        for machine in self.machines.values():
            path = machine.directory / "guest" / "results" / "results.json"
            if path.exists():
                one = json.loads(path.read_text())
                for test in machine.runner.tests:
                    one["tests"][test.name].update(out=test.out, err=test.err, result=test.found)
                merged = {**one, "tests": {**merged["tests"], **one["tests"]}}
        return json.dumps(merged)

    def update_lists(self):
        """Writes down what ran, and what the kernel said. Returns why it does not, if so."""
        for machine in self.machines.values():
            if machine.code:
                return "the VM %s did not end well: %s" % (machine.name, machine.sentence)
        # A name of a binary alone is none of a test
        ran = {name: test for name, test in self.tests.items()
               if test.result != "missing" and
               (name.startswith(("vm@", "qtest@")) or name.count("@") > 1)}
        kept = {name: entry for name, entry in self.lists.tests.items()
                if name in ran or not self.selected(name)}
        for name, test in ran.items():
            reason = kept.get(name, ("", ""))[1] or test.why
            kept[name] = ("skip", reason) if test.found == "skip" else ("pass", "")
        self.lists.tests = kept
        self.update_messages()
        self.lists.write()
        return None

    def update_messages(self):
        kept = [message for message in self.lists.messages
                if message.came or not message.due or not self.ended_well(message.test)]
        for machine in self.machines.values():
            kept += proposals(machine.lines, kept)
        self.lists.messages = [Message(*fields) for fields in
                               {tuple(message.fields()) for message in kept}]
