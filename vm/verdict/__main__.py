# SPDX-License-Identifier: GPL-2.0
"""What is the verdict of make check? Judges the files of a run.

usage: verdict [--lists DIR] [--update] DIR

  DIR       what vm/check.sh has written: for each VM its status, its files, and those of its
            kernel and of igt_runner; selection, the regular expression of the tests
  --lists   tests/check/, or what takes its place
  --update  write what ran, and what the kernel said, to the lists

Writes results.json, junit.xml, results.ktap, report.html and matrix.md to DIR, and for vpfn and
core_pfnmap the lists that drm-ci takes: NAME.testlist, NAME-fails.txt, ... Prints the failures, and the verdict on
the last line. Exit code: 0 if all is as listed, 1 otherwise.
"""

import argparse
import pathlib
import sys

import formats
import matrix
from judge import Judgement
from lists import Lists
from report import report


def write_lines(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        for line in lines:
            print(line, file=file)


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser()
    parser.add_argument("--lists", type=pathlib.Path, default=here.parents[1] / "tests/check")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("directory", type=pathlib.Path)
    args = parser.parse_args()

    lists = Lists(args.lists)
    regex = (args.directory / "selection").read_text().strip()
    judgement = Judgement(args.directory, lists, regex)
    if args.update:
        sys.exit(judgement.update_lists())

    passed, failed, skipped = judgement.counts()
    verdict = "%d passed, %d failed, %d skipped" % (passed, failed, skipped)
    write_lines(args.directory / "results.json", [judgement.merged_json()])
    write_lines(args.directory / "junit.xml", [formats.junit(judgement)])
    write_lines(args.directory / "results.ktap", formats.ktap(judgement))
    for name in ("core_pfnmap", "vpfn"):
        for suffix, lines in formats.drm_ci(lists, name).items():
            write_lines(args.directory / (name + suffix), lines)
    write_lines(args.directory / "matrix.md", matrix.markdown(judgement.tables))
    write_lines(args.directory / "report.html", report(judgement, verdict))
    for sentence in judgement.sentences():
        print(sentence)
    print(verdict)
    sys.exit(failed > 0 or not passed)


main()
