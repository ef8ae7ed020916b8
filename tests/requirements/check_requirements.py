#!/usr/bin/env python3
"""Compares the table of requirements with the tests that exist.

    check_requirements.py SOURCE_DIR [--table FILE]

Ends with 1 when a requirement that needs a test names none, or when a test is named that no source defines or no
CMakeLists.txt registers. README.md says what the cells of the table may hold.
"""

import argparse
import pathlib
import re
import sys

TABLE = "core/flush/REQUIREMENTS.md"
ID = re.compile(r"(?:[FID]-\d+[a-z]?|\d+)$")
NONE, NOT_APPLICABLE = "**none**", "n/a"
GTEST = re.compile(r"^\s*(TEST|TEST_F|TEST_P)\(\s*(\w+)\s*,\s*(\w+)\s*\)", re.MULTILINE)
INSTANCE = re.compile(r"^\s*INSTANTIATE_TEST_SUITE_P\(\s*\w+\s*,\s*(\w+)", re.MULTILINE)
REGISTERED = re.compile(r"^\s*(?:add_test\(\s*NAME\s+(\w+)|h2bd_test\((\w+)|h2bd_(e2e)_test\((\w+))", re.MULTILINE)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# Suite.Name, Suite.*, Suite.Beginning…, and ", .Name" of the suite before.
NAMED = re.compile(r"(?<![\w/])([A-Z]\w*)?\.([A-Z]\w*…?|\*)(?![\w.])")
BARE_SUITE = re.compile(r"(?<![\w.])([A-Z]\w*Test)(?![\w.])")
SCRIPT = re.compile(r"(?<![\w./])(e2e_\w+|[a-z]\w*_test)(?![\w./])")


class Tests:
    """What the sources define."""

    def __init__(self, source_dir):
        self.names, self.scripts = {}, set()
        parameterised, instantiated = set(), set()
        for path in sorted((source_dir / "tests").rglob("*.cc")):
            text = COMMENT.sub("", path.read_text(encoding="utf-8"))
            instantiated.update(INSTANCE.findall(text))
            for macro, suite, name in GTEST.findall(text):
                if name.startswith("DISABLED_") or suite.startswith("DISABLED_"):
                    continue
                self.names.setdefault(suite, set()).add(name)
                if macro == "TEST_P":
                    parameterised.add(suite)
        # Without an instance a TEST_P never runs.
        for suite in parameterised - instantiated:
            del self.names[suite]
        for path in sorted((source_dir / "tests").rglob("CMakeLists.txt")):
            text = re.sub(r"#[^\n]*", "", path.read_text(encoding="utf-8"))
            for plain, unit, _, e2e in REGISTERED.findall(text):
                self.scripts.add(plain or unit or "e2e_" + e2e)

    def has(self, suite, name):
        present = self.names.get(suite, set())
        if name == "*":
            return bool(present)
        if name.endswith("…"):
            return any(one.startswith(name[:-1]) for one in present)
        return name in present


def rows_of(text):
    """(id, class, test cell, met cell) of each row; a row of the fault table has the class "fault"."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or not ID.match(cells[0]):
            continue
        if cells[0].isdigit():
            yield (cells[0], "fault", cells[2] if len(cells) == 4 else None, "")
        else:
            yield (cells[0], cells[2], cells[4] if len(cells) == 6 else None, cells[-1])


def problems_of_cell(cell, tests):
    """Complaints about the names in a cell, and how many names it holds."""
    complaints, count, suite = [], 0, None
    for given, name in NAMED.findall(cell):
        suite = given or suite
        count += 1
        if not tests.has(suite, name):
            complaints.append(f"there is no test {suite}.{name}")
    for suite in BARE_SUITE.findall(cell):
        count += 1
        if suite not in tests.names:
            complaints.append(f"there is no suite {suite}")
    for script in SCRIPT.findall(cell):
        count += 1
        if script not in tests.scripts:
            complaints.append(f"ctest knows no {script}")
    return complaints, count


def problems_of_row(row, tests):
    name, kind, cell, met = row
    if cell is None:
        return [f"{name}: the row has not the columns of its table"]
    complaints, count = problems_of_cell(cell, tests)
    # Class H is advice, and what is not there has no test; both say so in the table.
    excused = kind == "H" or met.startswith("no")
    if NONE in cell and not excused:
        complaints.append("a test is missing")
    elif count == 0 and NONE not in cell and NOT_APPLICABLE not in cell:
        complaints.append("the cell of tests names none")
    return [f"{name}: {complaint}" for complaint in complaints]


def problems_of_counts(text, rows):
    """The sentence on top counts the rows; it must be right."""
    stated = re.search(r"(\d+) rows: (\d+) yes, (\d+) no\b", text)
    if not stated:
        return ["the counts of the rows are missing"]
    met = [row[3] for row in rows if row[1] != "fault"]
    found = (len(met), met.count("yes"), sum(cell.startswith("no") for cell in met))
    if found == tuple(int(group) for group in stated.groups()):
        return []
    return [f"the table has {found[0]} rows: {found[1]} yes, {found[2]} no; it says: {stated.group(0)}"]


def check(source_dir, table):
    tests = Tests(source_dir)
    text = table.read_text(encoding="utf-8")
    rows = list(rows_of(text))
    problems = problems_of_counts(text, rows)
    ids = [row[0] for row in rows]
    problems += [f"{name}: in the table twice" for name in sorted({one for one in ids if ids.count(one) > 1})]
    for row in rows:
        problems += problems_of_row(row, tests)
    return problems, len(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source_dir", type=pathlib.Path)
    parser.add_argument("--table", type=pathlib.Path, help=f"instead of SOURCE_DIR/{TABLE}")
    arguments = parser.parse_args()
    problems, count = check(arguments.source_dir, arguments.table or arguments.source_dir / TABLE)
    for problem in problems:
        print(f"requirements: {problem}", file=sys.stderr)
    print(f"requirements: {count} rows, {len(problems)} problems")
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
