# SPDX-License-Identifier: GPL-2.0
"""The tests that reach a statement, the quickest first, each with a limit in seconds.

usage: tests.py REACH FILE FIRST LAST BUDGET, of which REACH is what reach.py printed. What is no
code itself, as an entry of a table, is taken to be reached by whoever reaches the file. When the
tests have taken BUDGET seconds, the slower ones are left out.
"""

import csv
import sys


def main():
    reach, file, first, last, budget = sys.argv[1:]
    with open(reach, newline="") as lines:
        rows = [row for row in csv.reader(lines, delimiter="\t") if row[0] == file]
    at = [row for row in rows if int(first) <= int(row[1]) <= int(last)] or rows
    spent = 0
    for seconds, test in sorted({(int(row[3]), row[2]) for row in at if row[2]}):
        if spent > int(budget):
            break
        print(test, 60 + 4 * seconds)
        spent += seconds


main()
