# SPDX-License-Identifier: GPL-2.0
"""Prints a line for each test that ran: name, result, why it is no pass. No test has to run.

usage: rows.py RESULTS KERNEL-LOG, a directory of igt_runner's and a file of kernel-log.sh's
"""

import pathlib
import sys

from judge import blame
from kernel_log import KernelLog
from lists import Lists
from results import Runner

top = pathlib.Path(__file__).resolve().parents[2]
tests = {test.name: test for test in Runner(pathlib.Path(sys.argv[1])).tests}
blame(tests, KernelLog("mutants", sys.argv[2], True).lines, Lists(top / "tests/check").messages)
for test in tests.values():
    print(test.name.removeprefix("igt@"), test.result, test.why, sep="\t")
