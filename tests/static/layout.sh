#!/bin/sh
# layout.sh [--write]: whether every C file is laid out as .clang-format says. Version 14 decides: others differ.
set -eu
cd "$(dirname "$0")/../.."
format=
for name in clang-format-14 clang-format; do
    if command -v "$name" >/dev/null 2>&1 && "$name" --version | grep -q 'version 14\.'; then
        format=$name
        break
    fi
done
if [ -z "$format" ]; then
    echo "layout: not checked: clang-format 14 decides it, and this system has none (Debian 12 does)"
    exit 0
fi
mode="--dry-run -Werror"
[ "${1:-}" != --write ] || mode=-i
# shellcheck disable=SC2086 # mode is a list of options
python3 tests/static/sources.py .c .h | xargs -0 -r "$format" $mode
