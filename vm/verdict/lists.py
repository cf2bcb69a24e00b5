# SPDX-License-Identifier: GPL-2.0
"""What is expected: the files of tests/check/."""

import re

# Placeholders for what differs from run to run
PLACEHOLDERS = {
    "<n>": r"(?:0x)?[0-9a-f]+",
    "<w>": r"\S+",
    "<pci>": r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]",
}

# Reports of a bug in the kernel, which no entry may excuse
BUG_REPORT = re.compile(
    r"(WARNING|BUG|INFO|Oops|kernel BUG|Kernel panic|general protection|RIP|KASAN|UBSAN"
    r"|KCSAN|=====|---)")


def pattern(text):
    """A compiled form of a message with placeholders."""
    parts = re.split("(%s)" % "|".join(PLACEHOLDERS), text)
    return re.compile("".join(PLACEHOLDERS.get(part) or re.escape(part) for part in parts))


def ancestors(name):
    """The name and those of what contains it: dynamic subtest, subtest, binary."""
    while name.count("@") > 0:
        yield name
        name = name.rpartition("@")[0]


class Message:
    """A line of messages.txt.

    when: "always": it has to come; "sometimes": it may; with "+stack", a stack dump follows
    """

    def __init__(self, test, when, text, reason=""):
        if BUG_REPORT.match(text):
            raise ValueError("messages.txt must not excuse the report of a bug: %s" % text)
        if when.removesuffix("+stack") not in ("always", "sometimes"):
            raise ValueError("messages.txt knows no '%s'" % when)
        self.test = test
        self.when = when
        self.text = text
        self.reason = reason
        self.pattern = pattern(text)
        self.came = False

    @property
    def due(self):
        return self.when.startswith("always")

    @property
    def has_stack(self):
        return self.when.endswith("+stack")

    def fields(self):
        return [self.test, self.when, self.text] + ([self.reason] if self.reason else [])


def read(path):
    """The comment at the head of a list, and the fields of each line."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    return ([line for line in lines if line.startswith("#")],
            [line.split("\t") for line in lines if line and not line.startswith("#")])


def write(path, head, rows):
    with open(path, "w", encoding="utf-8") as file:
        for line in head + ["\t".join(row) for row in sorted(rows)]:
            print(line, file=file)


class Lists:
    """tests: name -> (result, reason); vms: binary -> VM; messages: [Message]"""

    def __init__(self, directory):
        self.directory = directory
        self.tests_head, rows = read(directory / "tests.txt")
        self.tests = {row[0]: (row[1], "".join(row[2:])) for row in rows}
        self.messages_head, rows = read(directory / "messages.txt")
        self.messages = [Message(*row) for row in rows]
        self.vms = {row[1]: row[0] for row in read(directory / "vms.txt")[1]}

    def vm_of(self, name):
        kind, _, rest = name.partition("@")
        if kind == "igt":
            return self.vms.get(rest.partition("@")[0])
        return rest if kind == "vm" else None

    def write(self):
        write(self.directory / "tests.txt", self.tests_head,
              [[name, result] + ([reason] if reason else [])
               for name, (result, reason) in self.tests.items()])
        write(self.directory / "messages.txt", self.messages_head,
              [message.fields() for message in self.messages])
