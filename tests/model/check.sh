#!/usr/bin/env bash
# check.sh: the model of who owns a guild, checked by spin.
#
#     tests/model/check.sh [--large] [--only WORD] [--trace]
#
# The protocol as it should be is searched exhaustively within several bounds; then each deliberately broken variant
# must be caught. Fails when the right one errs, when a search was cut short, or when a broken one passes.
# Needs spin and gcc; 77: they cannot be had. docs/model.md explains what is checked and what is not.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; }
large=0
only=
trace=0
while [ $# -gt 0 ]; do
    case $1 in
    --large) large=1 ;;
    --only)
        only=${2:?--only needs a word}
        shift
        ;;
    --trace) trace=1 ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done

skip() {
    echo "model: SKIPPED: $*" >&2
    exit 77
}
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }
install_spin() {
    command -v apt-get >/dev/null 2>&1 || skip "spin is missing and this is no Debian; install it"
    [ "${DEV_SKIP_PACKAGES:-0}" = 1 ] && skip "spin is missing and DEV_SKIP_PACKAGES=1 leaves packages to you"
    echo "model: installs spin" >&2
    if ! { as_root apt-get -q update && as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        --no-install-recommends install spin; } </dev/null >"$folder/apt.log" 2>&1; then
        tail -n 5 "$folder/apt.log" >&2
        skip "spin is missing and apt-get cannot install it (above)"
    fi
}

folder=$(mktemp -d "${TMPDIR:-/tmp}/guildbus-model.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
command -v gcc >/dev/null 2>&1 || skip "gcc is missing"
command -v spin >/dev/null 2>&1 || install_spin
cp "$here/ownership.pml" "$folder"
cd "$folder" || exit 1

memory_mb=3000
failed=0
figure() { sed -n "s/$1/\\1/p" pan.out | head -n 1 | tr -d ' '; }

# search PAN_OPTIONS -DBOUND=... : builds pan and runs it; its report is in pan.out
search() {
    local kind=$1 flags
    shift
    rm -f pan pan.* ./*.trail
    case $kind in
    exact) flags="-O2 -DSAFETY" ;;
    hashed) flags="-O2 -DSAFETY -DHC4" ;;
    cycles) flags="-O2 -DNP" ;;
    broken) flags="-O0 -DSAFETY -DHC4" ;;
    esac
    # Every step touches what all see, so there is nothing for partial order reduction to reduce.
    # shellcheck disable=SC2086
    if ! spin -a "$@" ownership.pml >spin.out 2>&1 ||
        ! gcc -w -o pan pan.c -DNOREDUCE -DMEMLIM="$memory_mb" $flags >>spin.out 2>&1; then
        cat spin.out >&2
        echo "model: pan cannot be built" >&2
        exit 1
    fi
    local run="-m20000"
    [ "$kind" != cycles ] || run="$run -l"
    # shellcheck disable=SC2086
    nice ./pan $run >pan.out 2>&1
}

# The steps that led there, and what was wrong.
tell() {
    spin -t "$@" ownership.pml 2>&1 | sed 's/^ *//' | sed '/^#processes/,$d; /^spin: text of failed/d' |
        grep -v 'never claim\|^spin: couldn.t find claim' >trail.txt
    if [ $trace -eq 1 ]; then sed 's/^/    /' trail.txt; else tail -n "${TAIL:-6}" trail.txt | sed 's/^/    /'; fi
}

why_incomplete() {
    grep -q 'max search depth too small' pan.out && echo "the search was cut at its depth"
    grep -q 'out of memory\|reached -DMEMLIM' pan.out && echo "it ran out of its $memory_mb MB"
    grep -q 'Search not completed' pan.out && ! grep -q 'errors: [1-9]' pan.out && echo "it did not end"
    grep -q 'states, stored' pan.out || echo "pan said nothing"
}

# right NAME KIND BOUNDS...: no error, and nothing left out
right() {
    local name=$1 kind=$2 incomplete
    shift 2
    [[ $name == *"$only"* ]] || return 0
    search "$kind" "$@"
    incomplete=$(why_incomplete)
    local verdict=ok
    if [ -n "$incomplete" ] || ! grep -q 'errors: 0' pan.out; then
        verdict=FAILED
        failed=$((failed + 1))
    fi
    printf '%-44s %-6s %9s states %10s transitions, depth %4s, %5.0f MB, %6s s\n' "$name" "$verdict" \
        "$(figure '^ *\([0-9]*\) states, stored.*')" "$(figure '^ *\([0-9.e+]*\) transitions.*')" \
        "$(figure '.*depth reached \([0-9]*\),.*')" "$(figure '^ *\([0-9.]*\).*total actual memory usage')" \
        "$(figure 'pan: elapsed time \([0-9.e+]*\) seconds')"
    [ -z "$incomplete" ] || printf '    %s\n' "$incomplete"
    [ ! -e ownership.pml.trail ] || tell "$@"
}

# broken MACRO BOUNDS...: spin must find an error
broken() {
    local name=$1
    shift
    [[ $name == *"$only"* ]] || return 0
    search broken -D"$name" "$@"
    if [ -e ownership.pml.trail ] && grep -q 'errors: [1-9]' pan.out; then
        printf '%-44s caught %9s states\n' "$name" "$(figure '^ *\([0-9]*\) states, stored.*')"
        tell -D"$name" "$@"
    else
        failed=$((failed + 1))
        printf '%-44s PASSED: this model cannot fail\n' "$name"
        why_incomplete
    fi
}

plain="-DREQUESTS=1 -DEVENTS=0 -DSNAPSHOTS=0"
# shellcheck disable=SC2086
{
    echo "The protocol:"
    right "a move" exact -DFAULTS=0 -DEVENTS=2
    right "a move, any fault" exact $plain -DFAULTS=1
    right "a move, any fault: every run ends" cycles $plain -DFAULTS=1 -DROWS_STAY=0
    right "a move, any fault, events" exact -DREQUESTS=1 -DEVENTS=1 -DSNAPSHOTS=0 -DFAULTS=1
    right "a move, any fault, a snapshot" exact -DREQUESTS=1 -DEVENTS=0 -DSNAPSHOTS=1 -DFAULTS=1
    right "a move, any fault, a lying coordinator" exact -DREQUESTS=2 -DEVENTS=0 -DSNAPSHOTS=0 -DFAULTS=1 -DLIES=1
    right "a move to a standby, any fault" exact $plain -DFAULTS=1 -DSTANDBYS=1
    right "two moves, standbys" exact -DREQUESTS=2 -DEVENTS=0 -DSNAPSHOTS=0 -DFAULTS=0 -DMOVES=2 -DSTANDBYS=1
    right "failover, any two faults, a snapshot" exact -DREQUESTS=1 -DEVENTS=0 -DFAULTS=2 -DMOVES=0
    right "failover, any two, a lying coordinator" exact $plain -DFAULTS=2 -DMOVES=0 -DLIES=1
    right "three pods: failover, any two faults" exact $plain -DPODS=3 -DFAULTS=2 -DMOVES=0 -DROWS_STAY=0
    if [ $large -eq 1 ]; then
        memory_mb=12000
        right "three pods: a move, any fault" hashed $plain -DPODS=3 -DFAULTS=1 -DROWS_STAY=0
        right "two moves, any fault" hashed $plain -DFAULTS=1 -DMOVES=2
        right "a move, any two faults" hashed $plain -DFAULTS=2
        right "a move, any two, a lying coordinator" hashed $plain -DFAULTS=2 -DLIES=1
        right "a move to a standby, any two faults" hashed $plain -DFAULTS=2 -DSTANDBYS=1
        right "a move, any fault, all at once" hashed -DREQUESTS=2 -DFAULTS=1 -DROWS_STAY=0
        right "failover, any two faults, all at once" hashed -DREQUESTS=2 -DFAULTS=2 -DMOVES=0 -DROWS_STAY=0
        right "failover, any three faults" hashed $plain -DFAULTS=3 -DMOVES=0
        memory_mb=3000
    fi
    echo "Broken on purpose:"
    broken IGNORE_REFUSED $plain -DFAULTS=1
    broken GUESS_UNKNOWN $plain -DFAULTS=1 -DMOVES=0
    broken REPLY_BEFORE_CONFIRM $plain -DFAULTS=0
    broken UNSEAL_WITHOUT_LOG $plain -DFAULTS=0
    broken CLAIM_WITHOUT_READING $plain -DFAULTS=1 -DMOVES=0
    broken CLAIM_WITHOUT_SEAL $plain -DFAULTS=0 -DMOVES=2 -DSTANDBYS=1
    broken TAKE_WITHOUT_LOOKING $plain -DFAULTS=1 -DMOVES=2 -DSTANDBYS=1
    broken UNSEAL_OVER_A_CLAIM $plain -DFAULTS=1
    broken YIELD_OUTLIVES_OWN $plain -DFAULTS=0
    broken REPORTS_BEFORE_CONFIRMED $plain -DFAULTS=2 -DMOVES=0
    broken READS_BY_LEASE_ALONE $plain -DFAULTS=1 -DMOVES=0
    broken READS_JOIN_WHAT_IS_SENT $plain -DFAULTS=1 -DMOVES=0
    broken LOST_LEASE_FORGIVEN $plain -DFAULTS=2 -DROWS_STAY=0
    broken USE_DIRTY_ROWS $plain -DFAULTS=1 -DMOVES=0
    broken SNAPSHOT_WITHOUT_EXPECTED -DREQUESTS=1 -DEVENTS=0 -DFAULTS=2 -DMOVES=0
    broken SNAPSHOT_POSITION_FIRST -DREQUESTS=1 -DEVENTS=0 -DFAULTS=1
}
if [ $failed -gt 0 ]; then
    echo "model: $failed of these are not as they should be"
    exit 1
fi
echo "model: as it should be"
