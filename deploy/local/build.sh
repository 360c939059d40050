#!/bin/sh
# build.sh PRESET: configures once, then builds; quiet unless it fails. The programs are in build/PRESET/bin.
set -eu
preset=$1
folder=build/$preset
log=$folder/build.log
mkdir -p "$folder"

fail() {
    shown=$(grep -E -A 8 'error:|warning:|FAILED|CMake Error' "$log" | tail -n 80)
    [ -n "$shown" ] || shown=$(tail -n 60 "$log")
    echo "$shown" >&2
    echo "The build of preset $preset failed; all of it is in $log" >&2
    exit 1
}

: >"$log"
start=$(date +%s)
[ -e "$folder/build.ninja" ] || cmake --preset "$preset" >>"$log" 2>&1 || fail
echo "Building $preset ..."
cmake --build "$folder" >>"$log" 2>&1 || fail
echo "Built $folder/bin in $(($(date +%s) - start)) s."
