# SPDX-License-Identifier: GPL-2.0
"""The verdict as CI systems read it: KTAP, JUnit's XML, and the lists of drm-ci."""

import xml.etree.ElementTree as xml


def printable(text):
    """XML 1.0 has no place for most control characters."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def ktap(judgement):
    """Documentation/dev-tools/ktap.rst, one test a line."""
    tests = list(judgement.tests.values())
    yield "KTAP version 1"
    yield "1..%d" % len(tests)
    for i, test in enumerate(tests, 1):
        if test.result == "skip":
            note = " # SKIP %s" % test.why
        else:
            note = "" if test.ok else " # %s: %s" % (test.result, test.why)
        yield "%s %d %s%s" % ("ok" if test.ok else "not ok", i, test.name, " ".join(note.split("\n")))


def junit(judgement):
    """A suite for each binary."""
    passed, failed, skipped = judgement.counts()
    root = xml.Element("testsuites", tests=str(passed + failed + skipped), failures=str(failed),
                       skipped=str(skipped))
    suites = {}
    for test in judgement.tests.values():
        binary = "@".join(test.name.split("@")[:2])
        suite = suites.get(binary)
        if suite is None:
            suite = suites[binary] = xml.SubElement(root, "testsuite", name=binary)
        case = xml.SubElement(suite, "testcase", classname=binary, name=test.name,
                              time="%.3f" % test.seconds)
        if test.result == "skip":
            xml.SubElement(case, "skipped", message=printable(test.why))
        elif not test.ok:
            failure = xml.SubElement(case, "failure", type=test.result, message=printable(test.why))
            failure.text = printable(test.out + test.err)
    return xml.tostring(root, encoding="unicode")


def subtests(lists, prefix, word):
    """Of binaries of that prefix, those which the lists expect to pass or to skip."""
    for name, (result, _) in sorted(lists.tests.items()):
        parts = name.split("@")
        if len(parts) == 3 and parts[0] == "igt" and parts[1].startswith(prefix) and result == word:
            yield "@".join(parts[1:])


def drm_ci(lists, prefix):
    """{suffix: lines}: what runs, what fails, what is flaky, what is not run."""
    return {
        ".testlist": subtests(lists, prefix, "pass"),
        "-fails.txt": (),
        "-flakes.txt": (),
        "-skips.txt": ("^%s$" % name for name in subtests(lists, prefix, "skip")),
    }
