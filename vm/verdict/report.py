# SPDX-License-Identifier: GPL-2.0
"""report.html: the verdict, each failure with its logs, the tables, all tests."""

import html

import matrix

STYLE = """body{font-family:sans-serif}td,th{padding:.1em 1em;text-align:left}
.pass{color:green}.skip{color:gray}.bad{color:#b00;font-weight:bold}pre{overflow-x:auto}"""


def escape(text):
    return html.escape(text)


def details(title, text):
    if not text.strip():
        return ""
    return "<details><summary>%s</summary><pre>%s</pre></details>" % (title, escape(text))


def kernel_log(test):
    return "\n".join("<%d> %s" % (line.level, line.text) for line in test.log)


def failures(judgement):
    yield "<h2>Failures</h2>"
    for test in judgement.failures():
        yield "<h3 class=bad>%s: %s</h3><p>%s</p>" % (
            escape(test.result), escape(test.name), escape(test.why))
        yield details("output", test.out + test.err)
        yield details("kernel log", kernel_log(test))
    for why, names in judgement.early_ends.items():
        yield "<h3 class=bad>did not run: %d tests</h3><p>%s</p>" % (len(names), escape(why))
        yield details("their names", "\n".join(names))


def machines(judgement):
    yield "<h2>Virtual machines</h2><table><tr><th>VM<th>Seconds<th>Files</tr>"
    for machine in judgement.machines.values():
        links = " ".join("<a href='%s/%s'>%s</a>" % (machine.name, path, path) for path in (
            "output.log", "console.log", "guest/kernel.log", "guest/results/"))
        yield "<tr><td>%s<td>%d<td>%s</tr>" % (machine.name, machine.seconds, links)
    yield "</table>"


def all_tests(judgement):
    yield "<h2>Tests</h2><table><tr><th>Test<th>Result<th>Seconds<th>Why</tr>"
    for test in judgement.tests.values():
        kind = test.result if test.ok else "bad"
        yield "<tr><td>%s<td class=%s>%s<td>%.1f<td>%s</tr>" % (
            escape(test.name), kind, escape(test.result), test.seconds, escape(test.why))
    yield "</table>"


def report(judgement, verdict):
    yield "<!DOCTYPE html><meta charset=utf-8><title>make check</title>"
    yield "<style>%s</style>" % STYLE
    yield "<h1 class=%s>%s</h1>" % ("bad" if judgement.counts()[1] else "pass", verdict)
    if judgement.regex:
        yield "<p>Only tests that match <code>%s</code></p>" % escape(judgement.regex.pattern)
    if judgement.counts()[1]:
        yield from failures(judgement)
    yield from machines(judgement)
    yield from matrix.as_html(judgement.tables)
    yield from all_tests(judgement)
