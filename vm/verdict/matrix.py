# SPDX-License-Identifier: GPL-2.0
"""What the tests found, as tables.

A test prints "cell<TAB>table<TAB>row<TAB>column<TAB>answer" (pfnmap_matrix_cell() in tests/igt/lib/).
"""

import html

# The places in which vpfn has a buffer, in the order of the columns. Others follow as they came.
PLACES = ["pte-vram", "pmd-vram", "pud-vram", "pte-system", "pmd-system", "ordinary"]


def cells(name, out):
    """The cells in the output of a subtest, each with the (dynamic) subtest that found it."""
    test = name
    for line in out.splitlines():
        if line.startswith("Starting dynamic subtest: "):
            test = name + "@" + line.split(": ", 1)[1].lower()
        elif line.startswith("Dynamic subtest "):
            test = name
        elif line.startswith("cell\t"):
            yield test, line.split("\t")[1:5]


class Table:
    """columns: names; rows: {name: {column: Cell}}"""

    def __init__(self, name):
        self.name = name
        self.columns = []
        self.rows = {}

    def add(self, row, column, answer, failed):
        if column not in self.columns:
            self.columns.append(column)
        cell = self.rows.setdefault(row, {}).setdefault(column, Cell())
        cell.failed |= failed
        if answer not in cell.answers:
            cell.answers.append(answer)

    def sort_columns(self):
        known = [place for place in PLACES if place in self.columns]
        self.columns = known + [column for column in self.columns if column not in known]

    def cells_of(self, row):
        return [self.rows[row].get(column, Cell()) for column in self.columns]


class Cell:
    def __init__(self):
        self.answers = []
        self.failed = False

    @property
    def bad(self):
        return self.failed or len(self.answers) > 1

    @property
    def text(self):
        return " or ".join(self.answers) or "not asked"


def tables(tests):
    """The tables that the subtests among these tests printed"""
    found = {}
    failed = {test.name for test in tests
              if test.found not in ("pass", "skip") and not test.contains_failure}
    for test in tests:
        if test.name.count("@") != 2:
            continue
        # The output of a dynamic subtest is in that of its subtest, too
        for name, (table, row, column, answer) in cells(test.name, test.out):
            found.setdefault(table, Table(table)).add(row, column, answer, name in failed)
    for table in found.values():
        table.sort_columns()
    return list(found.values())


def contradictions(all_tables):
    """One cell, one answer: a sentence for each that has more"""
    for table in all_tables:
        for row in table.rows:
            for column, cell in zip(table.columns, table.cells_of(row)):
                if len(cell.answers) > 1:
                    yield "%s gives %s as the answer of %s on %s" % (
                        table.name, " and ".join(cell.answers), row, column)


def markdown(all_tables):
    def line(words):
        return "| %s |" % " | ".join(word.replace("|", "\\|") for word in words)

    for table in all_tables:
        yield from ("## " + table.name, "")
        yield line([""] + table.columns)
        yield line(["---"] * (len(table.columns) + 1))
        for row in table.rows:
            yield line([row] + ["**%s, failed**" % cell.text if cell.bad else cell.text
                                for cell in table.cells_of(row)])
        yield ""


def as_html(all_tables):
    for table in all_tables:
        yield "<h2>%s</h2><table><tr><th>%s</tr>" % (
            html.escape(table.name), "".join("<th>" + html.escape(c) for c in table.columns))
        for row in table.rows:
            yield "<tr><td>%s%s</tr>" % (html.escape(row), "".join(
                "<td class=%s>%s" % ("bad" if cell.bad else "asked" if cell.answers else "skip",
                                     html.escape(cell.text))
                for cell in table.cells_of(row)))
        yield "</table>"
