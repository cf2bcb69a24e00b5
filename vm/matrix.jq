# SPDX-License-Identifier: GPL-2.0
# What did the tests find, as tables? A test prints "cell<TAB>table<TAB>row<TAB>column<TAB>answer"
# (vpfn_matrix_cell() in tests/igt/vpfn_stage.c). Here are these lines of igt_runner's
# results.json collected: tables(verdicts) gives
#   [{name, columns: [...], rows: [{name, cells: [{answers: [...], failed}, ...]}]}]
# and the other functions take that.

# The places in which vpfn has a buffer, in the order of the columns. Others follow as they came.
def places: ["pte-vram", "pmd-vram", "pud-vram", "pte-system", "pmd-system", "ordinary"];

def uniques: reduce .[] as $x ([]; if any(.[]; . == $x) then . else . + [$x] end);

# The cells in the output of a subtest, each with the test that found it: the dynamic subtest
# that was at work, or the subtest. igt_runner has the names in lower case.
def cells_of($subtest):
	foreach split("\n")[] as $line ({test: $subtest};
		.cell = null |
		if $line | startswith("Starting dynamic subtest: ") then
			.test = "\($subtest)@\($line | ltrimstr("Starting dynamic subtest: ") | ascii_downcase)"
		elif $line | startswith("Dynamic subtest ") then .test = $subtest
		elif $line | startswith("cell\t") then .cell = ($line | split("\t"))
		else . end;
		select(.cell) | {test, table: .cell[1], row: .cell[2], column: .cell[3], answer: .cell[4]});

# The output of a dynamic subtest is in that of its subtest, too
def cells:
	.tests | to_entries[] | select(.key | split("@") | length <= 3) |
	.key as $subtest | .value.out // "" | cells_of($subtest);

# The tests that failed by themselves: not because a dynamic subtest of theirs did
def failures($verdicts):
	[$verdicts | split("\n")[] | split("\t") | select(.[1] // "pass" | IN("pass", "skip") | not) | .[0]] |
	. as $all | map(select(. as $name | any($all[]; startswith($name + "@")) | not));

def tables($verdicts):
	failures($verdicts) as $failures | [cells] |
	map(.failed = (.test | IN($failures[]))) as $cells |
	$cells | map(.table) | uniques | map(. as $table |
		$cells | map(select(.table == $table)) | . as $cells |
		(map(.column) | uniques | (places - (places - .)) + (. - places)) as $columns |
		{
			name: $table,
			$columns,
			rows: map(.row) | uniques | map(. as $row | {
				name: $row,
				cells: $columns | map(. as $column |
					$cells | map(select(.row == $row and .column == $column)) |
					{ answers: map(.answer) | uniques, failed: any(.[]; .failed) })
			})
		});

# One cell, one answer: a sentence for each that has more
def contradictions:
	.[] | .name as $table | .columns as $columns | .rows[] | .name as $row |
	.cells | to_entries[] | select(.value.answers | length > 1) |
	"\($table) gives \(.value.answers | join(" and ")) as the answer of \($row) on \($columns[.key])";

def words: if .answers == [] then "not asked" else .answers | join(" or ") end;

def is_bad: .failed or (.answers | length) > 1;

def line: map(gsub("[|]"; "\\|")) | "| \(join(" | ")) |";

def markdown:
	.[] | "## \(.name)", "",
	([""] + .columns | line, (map("---") | line)),
	(.rows[] | [.name] + (.cells | map(if is_bad then "**\(words), failed**" else words end)) | line),
	"";

def html:
	.[] | "<h2>\(.name | @html)</h2><table><tr><th>\(.columns | map("<th>" + @html) | join(""))</tr>",
	(.rows[] | "<tr><td>\(.name | @html)\(.cells | map(
		if is_bad then "<td class=other>" elif .answers == [] then "<td class=skip>" else "<td>" end +
		(words | @html)) | join(""))</tr>"),
	"</table>";
