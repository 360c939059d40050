#!/usr/bin/env python3
"""sources.py - the project's own files, with or without git: sources.py .c .h …  prints them, each ended by a NUL."""
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
OTHERS = {"build", "node_modules", "__pycache__"}


def sources(*suffixes):
    """Paths from the top folder, sorted; a suffix of "" takes files without one."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in OTHERS and (not f.startswith(".") or f == ".ci")]
        for name in names:
            path = pathlib.Path(folder, name)
            if path.suffix in suffixes and not path.is_symlink():
                found.append(path.relative_to(ROOT))
    return sorted(found)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{path}\0" for path in sources(*sys.argv[1:])))
