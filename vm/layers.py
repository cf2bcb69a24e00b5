#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Do the driver's files only use files below them?

vpfn_drv.h declares what files share, under a comment with the name of the file that defines it.
The order below is that of the layers, from the bottom. Prints which file uses which, and fails
if one uses a file above it, or if a shared function is defined where the header does not say.

usage: layers.py DIRECTORY
"""

import re
import sys
from pathlib import Path

LAYERS = ["gart", "engine", "job", "vram", "ttm", "bo", "prime", "fault", "mmap", "gem",
          "submit", "debugfs", "drv"]


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(\\.|[^\"\\])*\"", " ", text, flags=re.S)


def declared(header):
    """The file that defines each shared symbol, by the sections of the header"""
    owner = {}
    sections = re.split(r"/\* (vpfn_\w+\.c) \*/", header)
    for name, body in zip(sections[1::2], sections[2::2]):
        body = body.split("\n#if")[0]
        for symbol in re.findall(r"\b(vpfn_\w+)(?=\(|;)", without_comments(body)):
            owner[symbol] = name
    return owner


def main():
    directory = Path(sys.argv[1])
    owner = declared((directory / "vpfn_drv.h").read_text())
    files = [f"vpfn_{layer}.c" for layer in LAYERS]
    texts = {name: without_comments((directory / name).read_text()) for name in files}
    bad = []

    for path in directory.glob("vpfn_*.c"):
        if path.name not in files and path.name != "vpfn_trace.c":
            bad.append(f"{path.name} has no layer")
    for symbol, name in owner.items():
        if not re.search(rf"^[^\s#].*\b{symbol}\b", texts[name], flags=re.M):
            bad.append(f"{symbol} is not defined in {name}")

    for height, name in enumerate(files):
        words = set(re.findall(r"\bvpfn_\w+", texts[name]))
        used = {owner[word] for word in words if word in owner} - {name}
        print(f"{name}: {' '.join(sorted(used, key=files.index)) or '-'}")
        bad += [f"{name} uses {other}, which is above it"
                for other in sorted(used) if files.index(other) > height]

    for line in bad:
        print(line, file=sys.stderr)
    return 1 if bad else 0


sys.exit(main())
