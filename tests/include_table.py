#!/usr/bin/env python3
"""Checks the includes of the headers against the table of docs/architecture.md.

The table has one row per folder of include/pllava: its name, the folders that it may include, and
its contents. A folder may always include itself and the files of `base`. Prints each include that
the table does not allow, each folder without a row, and each cycle; exits with 1 if there is any.

Usage: include_table.py SOURCE_DIRECTORY
"""
import pathlib
import re
import sys

BASE = {"config.hpp", "error.hpp", "version.hpp"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"pllava/([^"]+)"', re.MULTILINE)


def read_table(document):
    """Row name -> set of the rows that it may include, from the Markdown table after the marker."""
    rows = {}
    for line in document.split("<!-- include table -->", 1)[1].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            if rows:
                break
            continue
        name = cells[0].strip("`")
        if name == "folder" or set(name) <= {"-", ":"}:
            continue
        rows[name] = set(re.findall(r"`([^`]+)`", cells[1]))
    return rows


def row_of(path):
    """The row of a header, by its path below include/pllava."""
    parts = pathlib.PurePosixPath(path).parts
    if path in BASE:
        return "base"
    if len(parts) == 1:
        return parts[0]
    return "pipeline.hpp" if parts[0] == "detail" else parts[0]


def closure(rows, name, path=()):
    """Raises ValueError if `name` is part of a cycle."""
    if name in path:
        raise ValueError(" -> ".join(path[path.index(name):] + (name,)))
    for allowed in rows[name]:
        closure(rows, allowed, path + (name,))


def main(root):
    root = pathlib.Path(root)
    rows = read_table((root / "docs/architecture.md").read_text(encoding="utf-8"))
    problems = []
    for name, allowed in rows.items():
        problems += [f"row {name} names {a}, which has no row" for a in sorted(allowed - set(rows))]
    if not problems:
        for name in rows:
            try:
                closure(rows, name)
            except ValueError as cycle:
                problems.append(f"cycle: {cycle}")
    files = 0
    include = root / "include/pllava"
    for header in sorted(include.rglob("*.hpp")):
        where = header.relative_to(include).as_posix()
        row = row_of(where)
        if row not in rows:
            problems.append(f"{where}: its folder {row} has no row")
            continue
        files += 1
        text = header.read_text(encoding="utf-8")
        for target in INCLUDE.findall(text):
            if not (include / target).exists():
                problems.append(f"{where} includes {target}, which does not exist")
            elif row_of(target) not in rows[row] | {row, "base"}:
                problems.append(f"{where} includes {target}: {row} may not include {row_of(target)}")
    if files < 50:
        problems.append(f"expected at least 50 headers below {include}, got {files}")
    if problems:
        print("\n".join(problems))
        return 1
    print(f"{files} headers match the table of {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
