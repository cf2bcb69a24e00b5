# SPDX-License-Identifier: GPL-2.0
"""What can be wrong with a statement: each operator yields (what is done, the wrong text).

A text keeps its number of lines, so that nothing else in the object changes.
"""

import re

# What they do is seen by who reads a log or debugs
TALK = re.compile(r"(?:drm_(?:dbg|err|warn|info|notice)|dev_(?:dbg|err|warn|info)|pr_\w+|trace_\w+|"
                  r"\w*assert\w*|might_\w+|lockdep_\w+|qemu_log_mask|WARN\w*|g_test_\w+|MODULE_\w+)\b")
FLAGS = {
    "GFP_KERNEL_ACCOUNT": "GFP_KERNEL",
    "DMA_RESV_USAGE_KERNEL": "DMA_RESV_USAGE_WRITE",
    "DMA_RESV_USAGE_WRITE": "DMA_RESV_USAGE_READ",
    "DMA_RESV_USAGE_READ": "DMA_RESV_USAGE_BOOKKEEP",
    "DMA_RESV_USAGE_BOOKKEEP": "DMA_RESV_USAGE_KERNEL",
    "true": "false",
    "false": "true",
}
BOUNDS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}


def blank_lines(statement, code):
    return code + "\n" * statement.text.count("\n")


def drop(statement, _):
    if statement.is_entry:
        yield "drops", blank_lines(statement, "")
    if statement.is_simple and not TALK.match(statement.words):
        tabs = statement.text[:statement.indent]
        yield "drops", blank_lines(statement, tabs + ";")


def condition(statement):
    """Where the condition of an if or while stands in the text."""
    if not statement.control or statement.control[1] not in ("if", "while"):
        return None
    begin = statement.code.index("(", statement.code.index(statement.control[1]))
    depth = 0
    for i in range(begin, len(statement.code)):
        depth += {"(": 1, ")": -1}.get(statement.code[i], 0)
        if not depth:
            return begin, i + 1
    return None


def negate(statement, _):
    span = condition(statement)
    if span:
        begin, end = span
        text = statement.text
        yield "negates", text[:begin] + "(!" + text[begin:end] + ")" + text[end:]


def replace(statement, pattern, word, what):
    """Each place by itself. Text and code have the same length."""
    for match in re.finditer(pattern, statement.code):
        new = word(match)
        if new is not None:
            yield what, statement.text[:match.start()] + new + statement.text[match.end():]


def bound(statement, _):
    yield from replace(statement, r" (<=?|>=?) (?![^(]*\.h>)", lambda m: " %s " % BOUNDS[m[1]], "moves a bound of")
    yield from replace(statement, r" [+-] 1\b", lambda m: "", "leaves the one out of")


def logic(statement, _):
    yield from replace(statement, r"&&", lambda m: "||", "takes or for and in")
    yield from replace(statement, r"\|\|", lambda m: "&&", "takes and for or in")


def flag(statement, _):
    yield from replace(statement, r" \| *\n?\s*\w+\b(?!\()", lambda m: "\n" * m[0].count("\n"), "leaves a flag out of")
    yield from replace(statement, r"\b\w+\b", lambda m: FLAGS.get(m[0]), "weakens a flag of")


def errno(statement, _):
    if statement.words.startswith("return"):
        yield from replace(statement, r"-E[A-Z0-9]+\b",
                           lambda m: "-EIO" if m[0] != "-EIO" else "-EINVAL", "takes another errno for")
        yield from replace(statement, r"(?<=return )(?:ret|err|-E[A-Z0-9]+)(?=;)", lambda m: "0", "says success for")


def undo(statement, function):
    """A jump to the label after the right one leaves one step undone."""
    if not statement.words.startswith("goto "):
        return
    labels = [other.words.rstrip(":") for other in function if other.is_label]
    label = statement.words[5:-1]
    if label in labels[:-1]:
        after = labels[labels.index(label) + 1]
        yield "undoes one step less by", statement.text.replace(label, after)


def swap(statement, function):
    """With the statement behind it."""
    at = function.index(statement)
    if at + 1 == len(function):
        return
    after = function[at + 1]
    lines = statement.text.count("\n")
    if statement.is_simple and after.is_simple and after.indent == statement.indent and \
            after.first == statement.first + lines and not TALK.match(statement.words + after.words):
        yield "swaps with the next", after.text + statement.text


OPERATORS = (drop, negate, bound, logic, flag, errno, undo, swap)
