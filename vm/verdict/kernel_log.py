# SPDX-License-Identifier: GPL-2.0
"""What the kernel said under each test, and what of it was not expected."""

import collections
import re

from lists import BUG_REPORT, Message, ancestors

WARNING = 4

RECORD = re.compile(r"(\d+),(\d+),(\d+),[^;]*;(.*)")
ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
# What libigt writes to the log, in igt_core.c
IGT = re.compile(r"\[IGT\] (\S+): (executing|starting subtest|starting dynamic subtest)(?: (\S+))?$")
# What vm/guest/kernel-log.sh writes to it
MARK = re.compile(r"vpfn-check: (begin|unload|kexec|end)$")
# What vm/guest/init does last
LAST = "sysrq: Power Off"

# The lines of a stack dump. None of them is the head of a report.
STACK = re.compile(
    r"CPU: \d+ UID: .*|Tainted: .*|Hardware name: .*|Call Trace:| </?(TASK|IRQ)>"
    r"| (\? )?[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+( \[[\w ]+\])?"
    r"|(RIP|RSP|Code): .*|R[A-D0-9][A-Z0-9]: .*")

Line = collections.namedtuple("Line", "test level text")


def unescape(text):
    return ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


class KernelLog:
    """The log of one kernel, from the last mark "begin" on. by_test: whose lines are they?

    lines: [Line]; marks: the marks that came; lost: number of records that are missing
    """

    def __init__(self, vm, path, by_test):
        self.vm = vm
        self.by_test = by_test
        self.lines = []
        self.marks = []
        self.lost = 0
        self.test = "vm@" + vm
        last = None
        with open(path, encoding="utf-8", errors="replace") as file:
            for record in file:
                match = RECORD.match(record.rstrip("\n"))
                if not match:
                    continue
                number = int(match[2])
                if last is not None:
                    self.lost += number - last - 1
                last = number
                for text in unescape(match[4]).split("\n"):
                    self.add(int(match[1]) & 7, text)

    def add(self, level, text):
        mark = MARK.match(text)
        if mark:
            if mark[1] == "begin":
                self.lines.clear()
                self.marks.clear()
            self.marks.append(mark[1])
            self.test = "vm@" + self.vm
            return
        if not self.marks or self.marks[-1] == "end" or text == LAST:
            return
        igt = IGT.match(text)
        if igt and self.by_test:
            self.begin(igt)
        self.lines.append(Line(self.test, level, text))

    def begin(self, igt):
        binary, what, name = igt.groups()
        if what == "executing":
            self.test = "igt@" + binary.lower()
        elif what == "starting subtest":
            self.test = "igt@%s@%s" % (binary.lower(), name.lower())
        else:
            self.test = "@".join(self.test.split("@")[:3] + [name.lower()])


def console_after_kexec(vm, path):
    """The console shows warnings alone between the mark "kexec" and the next kernel."""
    begun = False
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            line = re.sub(r"^\[ *\d+\.\d+\] ", "", line.strip())
            if begun and line.startswith("Linux version"):
                break
            if begun and line and line != LAST:
                yield Line("vm@" + vm, WARNING, line)
            begun |= line == "vpfn-check: kexec"


def unexpected(lines, messages):
    """Those lines at warning level or above that are not listed. Notes which listed ones came."""
    listed = collections.defaultdict(list)
    for message in messages:
        listed[message.test].append(message)
    stack_of = None
    for line in lines:
        if line.level > WARNING:
            continue
        if stack_of == line.test and STACK.fullmatch(line.text):
            continue
        stack_of = None
        for message in (m for name in ancestors(line.test) for m in listed[name]):
            if message.pattern.fullmatch(line.text):
                message.came = True
                if message.has_stack:
                    stack_of = line.test
                break
        else:
            yield line


def general(text):
    """The text with placeholders for what differs from run to run, as far as one can guess."""
    for what, placeholder in (
            (r"\b[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b", "<pci>"),
            (r"\b(0x[0-9a-f]+|\d{3,}|[0-9a-f]{8,}|\d+(?=kB))(?=\b|kB)", "<n>"),
            (r"\d+(?= callbacks suppressed)|(?<=for irq )\d+", "<n>"),
            # Of a dump of a page
            (r"(?<=count:|..ino:)[0-9a-f]+", "<n>"),
            (r"(?<=flags: <n>\()\S+(?=\))", "<w>")):
        text = re.sub(what, placeholder, text)
    return text


def proposals(lines, messages):
    """New entries for the list, one for each subtest and text. None for the report of a bug."""
    entries = {}
    last = None
    for line in unexpected(lines, messages):
        if STACK.fullmatch(line.text):
            if last and last.test == "@".join(line.test.split("@")[:3]):
                last.when = "always+stack"
            continue
        last = None
        if not BUG_REPORT.match(line.text):
            key = "@".join(line.test.split("@")[:3]), general(line.text)
            last = entries.setdefault(key, Message(key[0], "always", key[1]))
    return list(entries.values())
