#!/usr/bin/env python3
"""Fails when docs/discord.md names a test that does not exist."""
import pathlib
import re
import sys

DOC = pathlib.Path("docs/discord.md")
NODE = pathlib.Path("tests/flow/discordjs")


def is_there(file, name):
    """file: unit/<folder>/<object>, or a Node test by its name without .test.mjs"""
    unit = re.fullmatch(r"unit/(\w+)/(\w+)", file)
    if unit:
        source = pathlib.Path(f"tests/unit/{unit[1]}/test_{unit[2]}.c")
        return source.exists() and re.search(rf"\b{name}\b", source.read_text()) is not None
    texts = [p.read_text() for p in (NODE / f"{file}.mjs", NODE / f"{file}.test.mjs") if p.exists()]
    return any(name in text for text in texts)


def main():
    text, bad = DOC.read_text(), 0
    named = re.findall(r"`((?:unit/\w+/)?\w+): ([^`]+)`", text)
    for file, name in named:
        if not is_there(file, name):
            print(f"{DOC}: there is no test {file}: {name}")
            bad += 1
    for flow in re.findall(r"`flow/(\w+)`", text):
        if not pathlib.Path(f"tests/flow/test_{flow}.py").exists():
            print(f"{DOC}: there is no flow test {flow}")
            bad += 1
    if len(named) < 40:
        print(f"{DOC}: only {len(named)} tests found; has its form changed?")
        bad += 1
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
