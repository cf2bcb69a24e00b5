# SPDX-License-Identifier: GPL-2.0
"""Which lines does each test reach? Prints file, line, test and the test's seconds.

usage: reach.py OBJECTS GUEST, a directory with the notes of gcov, and one with a directory for
each test with the counts. A line that no test reaches has no test.
"""

import json
import pathlib
import subprocess
import sys


def counts(objects, test):
    """(file, line, whether it ran) for each object."""
    for data in test.glob("*.gcda"):
        notes = objects / (data.stem + ".gcno")
        (test / notes.name).write_bytes(notes.read_bytes())
        said = subprocess.run(["gcov", "--json-format", "--stdout", data.name], cwd=test,
                              capture_output=True, check=True).stdout
        for file in json.loads(said)["files"]:
            name = pathlib.Path(file["file"]).name
            for line in file["lines"] if name.startswith("vpfn_") else ():
                yield name, line["line_number"], line["count"] > 0


def main():
    objects, guest = map(pathlib.Path, sys.argv[1:])
    reached = {}
    for test in sorted(path for path in guest.iterdir() if path.is_dir()):
        seconds = (test / "seconds").read_text().strip()
        for file, line, ran in counts(objects, test):
            tests = reached.setdefault((file, line), set())
            if ran:
                tests.add((int(seconds), test.name))
    for (file, line), tests in sorted(reached.items()):
        for seconds, name in sorted(tests) or [("", "")]:
            print(file, line, name, seconds, sep="\t")


main()
