#!/usr/bin/env python3
"""Fails when docs/messages.md is not what messages/make_docs.py makes."""
import difflib
import pathlib
import subprocess
import sys

made = subprocess.run([sys.executable, "messages/make_docs.py", "--print"], capture_output=True, text=True, check=True).stdout
stored = pathlib.Path("docs/messages.md").read_text()
differences = list(difflib.unified_diff(stored.splitlines(), made.splitlines(), "docs/messages.md", "made now", lineterm=""))
if differences:
    print("\n".join(differences[:40]))
    print("docs/messages.md is out of date: run messages/make_docs.py")
sys.exit(bool(differences))
