#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Do the functions exist that the documents name?

A document says ``mm/memory.c: do_fault(), do_read_fault()`` of functions of the kernel: each has to
be defined in that file of the tree. Each other function() has to be one that the same document names
with its file elsewhere, one that the driver defines, or a system call.

usage: doc-claims.py LINUX-TREE DRIVER-DIRECTORY DOCUMENT...
"""

import re
import sys
from pathlib import Path

CALL = r"\w+\(\)"
CLAIM = re.compile(rf"``([\w/.-]+\.[ch]): ({CALL}(?:, {CALL})*)``")
SYSCALLS = "arch/x86/entry/syscalls/syscall_64.tbl"


def defines(text, name):
    """Is there a definition, or a macro, of this name? Both begin in the first column."""
    if re.search(rf"^#\s*define\s+{name}\b", text, flags=re.M):
        return True
    # Up to the end of the arguments: a declaration has a semicolon there
    for match in re.finditer(rf"^(?:[A-Za-z_][^;{{}}()]*[\s*])?{name}\(", text, flags=re.M):
        if re.match(r"[^;{}]*\{", text[match.end():]):
            return True
    return False


def names(text):
    return re.findall(r"\w+", text)


def main():
    tree, driver = Path(sys.argv[1]), Path(sys.argv[2])
    own = "\n".join(path.read_text() for path in sorted(driver.glob("*.[ch]")))
    syscalls = {fields[2] for line in (tree / SYSCALLS).read_text().splitlines()
                if len(fields := line.split()) > 2 and fields[0].isdigit()}
    bad = []

    for document in sys.argv[3:]:
        text = re.sub(r"\s+", " ", Path(document).read_text())
        # Of another version
        text = re.sub(r'commit [0-9a-f]{12} "[^"]*"', "", text)
        claimed = set()
        for file, functions in CLAIM.findall(text):
            source = tree / file
            code = source.read_text() if source.is_file() else ""
            for name in names(functions):
                claimed.add(name)
                if not defines(code, name):
                    bad.append(f"{document}: {file} does not define {name}()")
        for name in sorted(set(re.findall(r"(\w+)\(\)", text)) - claimed - syscalls):
            if not defines(own, name):
                bad.append(f"{document}: no file is named for {name}()")
        print(f"{document}: {len(claimed)} functions of the kernel")

    for line in bad:
        print(line, file=sys.stderr)
    return 1 if bad else 0


sys.exit(main())
