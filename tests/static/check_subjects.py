#!/usr/bin/env python3
"""Fails when a C file spells a subject: messages/subjects.def alone does."""
import pathlib
import re
import sys

from sources import sources

TABLE = pathlib.Path("messages/subjects.def")
# A test of the table must say what it expects.
MAY_SPELL = {"messages/subjects.def", "tests/unit/messages/test_subjects.c"}
# The same letters, another meaning: names of files.
FILES = re.compile(r"\.(c|h|def|db|sql|json|html|css|js|conf|txt|log|pem|sock|sqlite3)(-\w+)?$")


def patterns(table):
    """One for each row: its format with anything in the holes, or only how it begins."""
    rows = re.findall(r'^SUBJECT\(\w+,\s*\w+,\s*\w+,\s*((?:"[^"]*"|\s|PRI\w+)+),\s*"([^"]*)"', table, re.M)
    for cell, wildcard in rows:
        spelled = re.sub(r'"|\s', "", cell).replace("PRIu64", "lu")
        whole = re.sub(r"%(lu|u|s)", r"[^.\\s'\"/]+", re.escape(spelled).replace(r"\%", "%"))
        begin = re.escape(spelled[:spelled.index("%")])
        yield rf"{whole}(?![\w.])"
        yield rf"{re.escape(wildcard)}(?![\w.])"
        yield rf"{begin}$"


STRING = r'"(?:[^"\\\n]|\\.)*"'
TOKEN = re.compile(rf"({STRING})|('(?:[^'\\\n]|\\.)+'|/\*.*?\*/|//[^\n]*|#\s*include[^\n]*)", re.S)


def literals(text):
    """(line, content) of each string literal; adjacent ones and the format macros between are one."""
    bare = TOKEN.sub(lambda m: m[1] or "\n" * m[0].count("\n"), text)
    for found in re.finditer(rf"{STRING}(?:\s*(?:PRI[a-zA-Z]\w*|{STRING}))*", bare):
        content = re.sub(r"PRI\w+(?=\s*(?:\"|$))", '"lu"', found[0])
        yield bare.count("\n", 0, found.start()) + 1, re.sub(r'"\s*"', "", content)[1:-1]


def main():
    spelled = re.compile(r"(?<![\w.$/-])(?:" + "|".join(patterns(TABLE.read_text())) + ")")
    bad = 0
    for path in sources(".c", ".h", ".def"):
        if not path.exists() or str(path) in MAY_SPELL:
            continue
        for line, literal in literals(path.read_text()):
            if spelled.search(literal) and not FILES.search(literal):
                print(f'{path}:{line}: "{literal}" spells a subject; messages/subjects.h makes it')
                bad += 1
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
