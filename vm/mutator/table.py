# SPDX-License-Identifier: GPL-2.0
"""Counts the verdicts by file, and lists the survivors. Fails if a file has too many.

usage: table.py DIR ARGUED. A line of ARGUED: file, function, operator, statement, and why it is
no bug that the mutant's tests can notice; separated by tabs, as in survivors.txt.
"""

import csv
import pathlib
import sys

WANTED = 0.9
# What others copy
WANTED_OF = {"vpfn_mmap.c": 0.97, "vpfn_fault.c": 0.97}


def rows(path):
    with open(path, newline="") as lines:
        return [row for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
                if row and not row[0].startswith("#")]


def main():
    directory, argued = map(pathlib.Path, sys.argv[1:])
    mutants = {row[0]: row[1:] for row in rows(directory / "list.tsv")}
    reasons = {tuple(row[:4]): row[4] for row in rows(argued)}
    counts, survivors = {}, []
    for name, verdict, *_ in rows(directory / "verdicts.tsv"):
        file, _, _, function, operator, words = mutants[name]
        key = (file.rsplit("/", 1)[1] if file.startswith("drivers") else file, function, operator, words)
        if verdict in ("survived", "unreached"):
            survivors.append((name, verdict) + key + (reasons.get(key, ""),))
            verdict = "argued" if key in reasons else "survived"
        counts.setdefault(key[0], {}).setdefault(verdict, []).append(name)

    lines, bad = [], False
    for file, by_verdict in sorted(counts.items()):
        killed, survived, reasoned = (len(by_verdict.get(verdict, ()))
                                      for verdict in ("killed", "survived", "argued"))
        asked = killed + survived
        bad = bad or killed < WANTED_OF.get(file, WANTED) * asked
        lines.append("%-28s %4d seeded %4d killed %4d survived %4d argued  %5.1f %%" % (
            file, asked + reasoned, killed, survived, reasoned, 100 * killed / asked if asked else 100))
    (directory / "survivors.txt").write_text("".join("\t".join(line) + "\n" for line in survivors))
    (directory / "table.txt").write_text("\n".join(lines) + "\n")
    for name, verdict, *key, reason in survivors:
        if not reason:
            print(name, verdict, *key, sep="\t")
    print("\n".join(lines))
    sys.exit(bad)


main()
