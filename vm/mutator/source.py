# SPDX-License-Identifier: GPL-2.0
"""The statements of a C file in the kernel's or QEMU's style, without a parser of C.

What is relied on is the style: a function's body begins and ends with a brace in the first
column, each statement begins a line.
"""

import re

COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)
CONTROL = re.compile(r"(?:\} )?(?:else )?(if|while|for|switch|do|else|[a-z_]+_for_each\w*|list_for_each\w*|scoped_guard|scoped_\w+)\b")
JUMPS = {"return", "goto", "break", "continue", "else", "case", "default", "do"}
DECLARATION = re.compile(r"(\w+)(?:\s+\w+)*\s+\**\w+\s*(?:=|;|,|\[|\()|"
                         r"(?:static |const |struct \w+ \*|union \w+ \*)|g_auto")


def blank(match):
    """Comments and strings, with their places kept."""
    return re.sub(r"[^\n]", " ", match[0])


class Statement:
    """Lines that belong together: a simple statement up to its semicolon, or the head of a block.

    first: index of its first line; text: as it stands; code: the same without comments and the
    contents of strings; words: the code on one line; function: where it is
    """

    def __init__(self, function, first, text, code):
        self.function = function
        self.first = first
        self.text = text
        self.code = code
        self.words = " ".join(code.split())
        self.indent = len(text) - len(text.lstrip())
        self.control = CONTROL.match(self.words)

    @property
    def is_declaration(self):
        match = DECLARATION.match(self.words)
        return bool(match) and match[1] not in JUMPS

    @property
    def is_label(self):
        return bool(re.fullmatch(r"\w+:", self.words))

    @property
    def is_entry(self):
        """Of a table."""
        return bool(re.match(r"\.\w+ = .*,$", self.words))

    @property
    def is_simple(self):
        """A call or an assignment."""
        return (self.words.endswith(";") and not self.control and not self.is_declaration and
                self.words.split("(")[0].split()[0].rstrip(";") not in JUMPS)


class Source:
    """A file: its lines, and its functions' statements."""

    def __init__(self, path):
        self.name = path.name
        self.text = path.read_text()
        self.lines = self.text.splitlines(keepends=True)
        self.code = COMMENT_OR_STRING.sub(blank, self.text).splitlines(keepends=True)
        self.functions = list(self.find_functions())

    def find_functions(self):
        """Lists of statements, one for each function, and for each table of values."""
        name = begin = None
        for i, line in enumerate(self.code):
            if begin is None and re.match(r"[A-Za-z_]", line):
                found = re.search(r"\b(\w+)(?:\(|(?:\[.*\])? = \{$)", line)
                name = found[1] if found else name
            if line.startswith("{") or re.match(r"[A-Za-z_].* = \{$", line):
                begin = i + 1
            elif line.startswith("}") and begin is not None:
                yield list(self.statements(name, begin, i))
                begin = None

    def statements(self, function, begin, end):
        first, depth = None, 0
        for i in range(begin, end):
            words = self.code[i].strip()
            if first is None:
                if not words or words.startswith("#"):
                    continue
                first = i
            depth += sum(words.count(c) for c in "([") - sum(words.count(c) for c in ")]")
            if depth or not words:
                continue
            # The condition of an if without braces ends its line with a parenthesis
            if words[-1] in ",;{}:" or words in ("else", "do") or \
                    words.endswith(")") and CONTROL.match("".join(self.code[first:i + 1]).strip()):
                yield Statement(function, first, "".join(self.lines[first:i + 1]),
                                "".join(self.code[first:i + 1]))
                first = None
