#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What did vpfn_bench measure?

usage: bench_report.py write DIR OUTPUT... its outputs as DIR/bench.json, and data for gnuplot
       bench_report.py functions RUN DIR  adds what "vpfn_bench functions" and the plugin wrote to
                                          the directory RUN of their VM
       bench_report.py page DIR           bench.html with the plots
       bench_report.py print BENCH.JSON   tables
       bench_report.py diff OLD NEW       what costs more; exit code 1 if anything does
"""
import bisect
import collections
import html
import json
import platform
import sys
from pathlib import Path

# More than two runs differ by
TOLERANCE = 0.02

# A clock's figures depend on the machine and on what else it does: diff leaves them out.
CLOCK_UNITS = ("ns", "ms")

# A figure and the one beside it: speed as a part of memcpy(), time of a move by that of the copy
RATIOS = (("copy", "memcpy"), ("fill", "memcpy"), ("crc", "memcpy"), ("evict", "evict-copy"),
          ("return", "return-copy"))

# Rows of the table by function
FUNCTIONS = 40

# Work, what its figure is, and the caption of its plot
PLOTS = (
    ("touch-pages", "first touch of each page",
     "Instructions outside the touching loop, by the size of the mapping. Each PTE side pays for "
     "every 64 KiB or 4 KiB, a PMD for 2 MiB, a PUD for 1 GiB."),
    ("munmap", "munmap of the whole mapping",
     "Instructions of munmap() after each page was touched."),
    ("fork", "fork and exit of a child",
     "Instructions that fork() and the exit of the child cost more with the mapping than without it."),
    ("munmap-page", "munmap of one page in the middle",
     "Instructions of munmap() of 4 KiB: a larger leaf goes, and what was around it faults again."),
)
COLUMNS = (
    ("touch-pages", "faults", "faults"),
    ("touch-pages", "KiB of page tables", "tables KiB"),
    ("touch-pages", "instructions", "touch"),
    ("touch-random", "instructions", "random"),
    ("touch-once", "instructions", "one word"),
    ("mmap", "instructions", "mmap"),
    ("munmap", "instructions", "munmap"),
    ("munmap-page", "instructions", "one page"),
    ("fork", "instructions", "fork"),
)
SIZES = {1 << 12: "4 KiB", 1 << 21: "2 MiB", 1 << 22: "4 MiB", 1 << 26: "64 MiB",
         1 << 28: "256 MiB", 1 << 30: "1 GiB", 1 << 32: "4 GiB"}
DRIVER_WORK = ("submit-nop", "create", "close", "buffers", "evict", "evict-copy", "return",
               "return-copy", "touch-moving")


def parse(outputs):
    figures, absent = [], []
    for line in "".join(Path(output).read_text(errors="replace") for output in outputs).splitlines():
        fields = line.split("\t")
        if fields[0] == "figure" and len(fields) == 7:
            work, side, size, unit, least, largest = fields[1:]
            figures.append({"work": work, "side": side, "size": int(size), "unit": unit,
                            "least": int(least), "largest": int(largest)})
        elif fields[0] == "absent" and len(fields) == 3:
            absent.append({"side": fields[1], "reason": fields[2]})
    if not figures:
        sys.exit(f"bench_report.py: no figures in {outputs}")
    return {"SPDX-License-Identifier": "MIT", "machine": machine(),
            "counter": "guest instructions: QEMU TCG, -icount shift=0, one processor",
            "figures": figures, "absent": absent}


def machine():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def load(path):
    return json.loads(Path(path).read_text())


def sides(bench):
    return list(dict.fromkeys(f["side"] for f in bench["figures"]))


def find(bench, work, side, size, unit):
    for f in bench["figures"]:
        if (f["work"], f["side"], f["size"], f["unit"]) == (work, side, size, unit):
            return f["least"]
    return None


def write(directory, *outputs):
    bench = parse(outputs)
    directory = Path(directory)
    (directory / "bench.json").write_text(json.dumps(bench, indent=1) + "\n")
    script = ["set terminal svg size 760,440 font 'sans-serif,13' background 'white'",
              "set logscale xy", "set key outside right", "set grid",
              "set xlabel 'size of the mapping'", "set ylabel 'guest instructions'",
              "set format y '10^{%L}'",
              "set xtics ('2 MiB' 2097152, '64 MiB' 67108864, '1 GiB' 1073741824)"]
    for work, title, _ in PLOTS:
        lines = []
        for side in sides(bench):
            points = [(f["size"], f["least"]) for f in bench["figures"]
                      if f["work"] == work and f["side"] == side and f["unit"] == "instructions"
                      and f["least"] > 0]
            if not points:
                continue
            data = directory / f"{work}-{side}.dat"
            data.write_text("".join(f"{x} {y}\n" for x, y in points))
            lines.append(f"'{data.name}' with linespoints linewidth 2 title '{side}'")
        script += [f"set output '{work}.svg'", f"set title '{title}'", "plot " + ", ".join(lines)]
    (directory / "plots.gnuplot").write_text("\n".join(script) + "\n")


def symbols(kallsyms):
    """The addresses of the kernel's functions, sorted, and their names"""
    found = sorted((int(address, 16), name) for address, kind, name, *_ in
                   (line.split() for line in kallsyms.read_text().splitlines()) if kind in "tTwW")
    return [address for address, _ in found], [name for _, name in found]


def functions(run, directory):
    run, path = Path(run), Path(directory) / "bench.json"
    windows = [line.split("\t")[1:] for line in (run / "output.log").read_text().splitlines()
               if line.startswith("window\t")]
    counts = [collections.Counter() for _ in windows]
    addresses, names = symbols(run / "guest" / "kallsyms")
    for line in (run / "qemu.log").read_text().splitlines():
        fields = line.split()
        if fields[:1] == ["instructions"]:
            name = names[bisect.bisect_right(addresses, int(fields[2], 16)) - 1]
            counts[int(fields[1]) - 1][name] += int(fields[3])
    if not windows or not all(counts):
        sys.exit(f"bench_report.py: no instructions in {run}/qemu.log")
    bench = load(path)
    bench["functions"] = [{"work": work, "side": side, "instructions": dict(count.most_common())}
                          for (work, side), count in zip(windows, counts)]
    path.write_text(json.dumps(bench, indent=1) + "\n")


def function_table(bench):
    """A row for each function, those with the most instructions on any side first"""
    windows = bench["functions"]
    most = collections.Counter()
    for window in windows:
        for name, count in window["instructions"].items():
            most[name] = max(most[name], count)
    rows = [["function"] + [window["side"] for window in windows],
            ["all"] + [f"{sum(window['instructions'].values()):,}" for window in windows]]
    for name, _ in most.most_common(FUNCTIONS):
        rows.append([name] + [str(window["instructions"].get(name, "-")) for window in windows])
    return rows


def ratio_table(bench):
    """The engine and memcpy(), moves and copies, in the same run: time, by the clock"""
    rows = [["work", "side", "beside", "ratio"]]
    for work, beside in RATIOS:
        for side in sides(bench):
            time = find(bench, work, side, 1 << 28, "ns")
            other = find(bench, beside, "host" if beside == "memcpy" else side, 1 << 28, "ns")
            if time and other:
                ratio = other / time if beside == "memcpy" else time / other
                rows.append([work, side, beside, f"{ratio:.2f}"])
    return rows


def tables(bench):
    """Yields a title and rows of text for each size, and for the work of the driver."""
    for size in sorted({f["size"] for f in bench["figures"] if f["work"] == "touch-pages"}):
        rows = [["side"] + [title for _, _, title in COLUMNS]]
        for side in sides(bench):
            figures = [find(bench, work, side, size, unit) for work, unit, _ in COLUMNS]
            if any(f is not None for f in figures):
                rows.append([side] + ["-" if f is None else f"{f:,}" for f in figures])
        yield f"A mapping of {SIZES.get(size, size)}: guest instructions, unless it says otherwise", rows
    rows = [["work", "side", "size", "unit", "figure"]]
    for f in bench["figures"]:
        if f["work"] in DRIVER_WORK and f["unit"] not in CLOCK_UNITS:
            rows.append([f["work"], f["side"], SIZES.get(f["size"], "-"), f["unit"], f"{f['least']:,}"])
    yield "Work of the driver, each time", rows
    rows = [["work", "side", "size", "unit", "least", "largest"]]
    for f in bench["figures"]:
        if f["unit"] in CLOCK_UNITS or f["work"].startswith("start-up"):
            rows.append([f["work"], f["side"], SIZES.get(f["size"], "-"), f["unit"],
                         f"{f['least']:,}", f"{f['largest']:,}"])
    yield "By the clock of the host", rows
    yield "By the clock of the host, side by side", ratio_table(bench)
    yield "The first touch of a GiB: instructions of the kernel by function", function_table(bench)


def print_tables(path):
    bench = load(path)
    for title, rows in tables(bench):
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        print(f"\n{title}")
        for row in rows:
            print("  " + row[0].ljust(widths[0]) + "".join(
                "  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:])))
    for absent in bench["absent"]:
        print(f"not measured: {absent['side']}: {absent['reason']}")


def page(directory):
    directory = Path(directory)
    bench = load(directory / "bench.json")
    parts = ["""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>vpfn: what a mapping costs</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font-family: sans-serif; max-width: 70rem; margin: auto; padding: 1rem; }
figure { margin: 1.5rem 0; }
img { width: 100%; max-width: 50rem; height: auto; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #8884; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; }
@media (prefers-color-scheme: dark) { img { filter: invert(1) hue-rotate(180deg); } }
</style></head><body>
<h1>What a mapping costs</h1>""", f"<p>Unit: {html.escape(bench['counter'])}.</p>"]
    for work, title, caption in PLOTS:
        plot = directory / f"{work}.svg"
        plot.write_text(plot.read_text().replace(
            "?>\n", "?>\n<!-- SPDX-License-Identifier: MIT -->\n", 1))
        parts.append(f"<figure><img src='{work}.svg' alt='{html.escape(title)}'>"
                     f"<figcaption>{html.escape(caption)}</figcaption></figure>")
    for title, rows in tables(bench):
        head, *body = ["".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
                       for tag, row in [("th", rows[0])] + [("td", row) for row in rows[1:]]]
        parts.append(f"<h2>{html.escape(title)}</h2><div><table><tr>{head}</tr>"
                     + "".join(f"<tr>{row}</tr>" for row in body) + "</table></div>")
    for absent in bench["absent"]:
        parts.append(f"<p>Not measured: {html.escape(absent['side'])}: {html.escape(absent['reason'])}</p>")
    parts.append("</body></html>")
    (directory / "bench.html").write_text("\n".join(parts) + "\n")


def diff(old, new):
    old, new = load(old), load(new)
    compared = [f for f in old["figures"]
                if f["unit"] not in CLOCK_UNITS and not f["work"].startswith("start-up")]
    worse = 0
    for f in compared:
        after = find(new, f["work"], f["side"], f["size"], f["unit"])
        name = f"{f['work']} {f['side']} {SIZES.get(f['size'], '')} ({f['unit']})"
        if after is None:
            print(f"{name}: no longer measured")
            worse += 1
        elif after > f["least"] * (1 + (TOLERANCE if f["unit"] == "instructions" else 0)):
            print(f"{name}: {f['least']:,} before, {after:,} now")
            worse += 1
    print(f"{worse} of {len(compared)} figures got worse")
    return 1 if worse else 0


def main():
    command, *arguments = sys.argv[1:]
    commands = {"write": write, "functions": functions, "page": page, "print": print_tables,
                "diff": diff}
    return commands[command](*arguments)


sys.exit(main())
