#!/bin/sh
# lint.sh: layout, our own checks, clang-tidy, cppcheck, shellcheck. All run; it fails when one did.
set -u
cd "$(dirname "$0")/../.." || exit 1
folder=build/dev
failed=0
passed=0

step() { # step NAME COMMAND...
    name=$1
    shift
    start=$(date +%s)
    if output=$("$@" 2>&1); then
        passed=$((passed + 1))
        verdict=ok
    else
        failed=$((failed + 1))
        verdict=FAILED
    fi
    echo "lint: $name: $verdict ($(($(date +%s) - start)) s)"
    [ -z "$output" ] || echo "$output"
}

# The folder must know every file, and the generated headers must be there.
configure() {
    { [ -e "$folder/build.ninja" ] || cmake --preset dev; } >"$folder.lint.log" 2>&1 &&
        cmake --build "$folder" --target messages_generated >>"$folder.lint.log" 2>&1 && return
    tail -n 30 "$folder.lint.log"
    return 1
}

tidy() {
    if ! clang-tidy --version 2>/dev/null | grep -q 'version 14\.'; then
        echo "not run: the list of checks is for clang-tidy 14 (Debian 12)"
        return 0
    fi
    generated='/build/|/(empty)\.c$'
    python3 - "$folder/compile_commands.json" "$generated" <<'END' >"$folder/tidy.files" || return 1
import json, re, sys
print("\0".join(sorted({c["file"] for c in json.load(open(sys.argv[1])) if not re.search(sys.argv[2], c["file"])})), end="")
END
    # gcc's own warnings are not clang's; the build with clang checks those.
    xargs -0 -r -P "$(nproc)" -n 4 clang-tidy -p "$folder" --quiet --extra-arg=-Wno-unknown-warning-option \
        <"$folder/tidy.files" 2>/dev/null
}

# Off: what cppcheck 2.10 gets wrong and both compilers get right (a switch over a whole enum, compound literals,
# a struct that is there to be filled).
check_c() {
    cppcheck --quiet --error-exitcode=1 --std=c11 -j "$(nproc)" --inline-suppr -D_GNU_SOURCE -D__linux__ -I. \
        --enable=warning,performance,portability --suppress=missingInclude --suppress=normalCheckLevelMaxBranches \
        --suppress=unknownMacro --suppress=toomanyconfigs --suppress=missingReturn \
        --suppress=internalAstError --suppress=ctuuninitvar --suppress=incorrectStringBooleanError \
        --suppress=nullPointerOutOfMemory --suppress=nullPointerArithmeticOutOfMemory --suppress=autoVariables base messages gateway edge coordinator tests bench
}

check_shell() {
    python3 tests/static/sources.py .sh "" |
        xargs -0 grep -lE -m1 '^#!/(bin/sh|bin/bash|usr/bin/env bash)' -- | xargs -r shellcheck
}

check_python() {
    python3 tests/static/sources.py .py |
        xargs -0 -r python3 -c 'import ast, sys
for name in sys.argv[1:]:
    ast.parse(open(name).read(), name)'
}

mkdir -p "$folder"
step layout tests/static/layout.sh
for check in tests/static/check_*.py; do
    step "$(basename "$check" .py)" python3 "$check"
done
step shellcheck check_shell
step python check_python
step cppcheck check_c
step "configure for clang-tidy" configure
step clang-tidy tidy
echo "lint: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
