# SPDX-License-Identifier: GPL-2.0
"""Writes mutants of a C file as patches, in a random order that the seed decides.

usage: mutants.py SEED DIR ROOT FILE...

A FILE is named from ROOT. For FILE's k-th mutant there is DIR/NAME-k.patch, of the form of those
in tests/mutants/. Prints a line for each: name, file, first line, last line, function, what is
done, to which statement; separated by tabs.
"""

import difflib
import pathlib
import random
import sys

from operators import OPERATORS
from source import Source


def mutants(source):
    for function in source.functions:
        for statement in function:
            for operator in OPERATORS:
                for what, text in operator(statement, function):
                    yield operator.__name__, statement, what, text


def patch(name, source, statement, text):
    lines = list(source.lines)
    new = text.splitlines(keepends=True)
    lines[statement.first:statement.first + len(new)] = new
    return "".join(difflib.unified_diff(source.lines, lines, "a/" + name, "b/" + name))


def main():
    seed, directory, root, *files = sys.argv[1:]
    for name in files:
        source = Source(pathlib.Path(root, name))
        found = list(mutants(source))
        random.Random("%s %s" % (seed, name)).shuffle(found)
        for k, (operator, statement, what, text) in enumerate(found, 1):
            mutant = "%s-%d" % (pathlib.Path(name).stem, k)
            first = statement.first + 1
            last = first + text.count("\n") - 1
            header = "SPDX-License-Identifier: GPL-2.0\nBreaks: %s(): %s: %s\n\n" % (
                statement.function, what, statement.words)
            pathlib.Path(directory, mutant + ".patch").write_text(
                header + patch(name, source, statement, text))
            print(mutant, name, first, last, statement.function, operator, statement.words, sep="\t")


main()
