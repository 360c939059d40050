#!/usr/bin/env python3
"""Fails on a function of more than 80 lines or a C file of more than 700."""
import pathlib
import re
import sys

from sources import sources

FUNCTION_LINES, FILE_LINES = 80, 700


def functions(text):
    """(name, first line, lines) of each function: our layout puts its braces in the first column."""
    lines, start, name = text.splitlines(), None, ""
    for n, line in enumerate(lines, 1):
        if line == "{":
            start, name = n, named_above(lines, n - 1)
        elif line == "}" and start:
            yield name, start, n - start + 1
            start = None


def named_above(lines, below):
    """The name of the function whose head ends on line number `below`."""
    head = ""
    for line in reversed(lines[max(0, below - 8):below]):
        head = line + " " + head
        if re.match(r"[A-Za-z_]", line):
            break
    found = re.search(r"(\w+)\s*\(", head)
    return found[1] if found else "?"


def main():
    bad = 0
    for path in sources(".c", ".h"):
        if not path.exists():
            continue
        text = path.read_text()
        count = text.count("\n")
        if count > FILE_LINES:
            print(f"{path}: {count} lines, more than {FILE_LINES}")
            bad += 1
        for name, line, length in functions(text):
            if length > FUNCTION_LINES:
                print(f"{path}:{line}: {name} has {length} lines, more than {FUNCTION_LINES}")
                bad += 1
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
