#!/usr/bin/env bash
# check.sh: the model of who owns a guild, checked by spin.
#
#     tests/model/check.sh [--large] [--only WORD] [--trace]
#
# --large: the wide searches instead, some ten minutes; --only: what has WORD in its name; --trace: every step of
# what went wrong. The protocol must hold in each search, and no search may be cut short; each deliberately broken
# variant must be caught, by the property that it breaks. Needs spin and gcc; 77: they cannot be had. docs/model.md has
# what is checked, what is not, and the figures.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; }
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
child=
# shellcheck disable=SC2317 # the trap calls it
end() {
    [ -z "$child" ] || kill "$child" 2>/dev/null
    rm -rf "$folder"
}
trap end EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
command -v gcc >/dev/null 2>&1 || skip "gcc is missing"
command -v spin >/dev/null 2>&1 || install_spin
cp "$here/ownership.pml" "$folder"
cd "$folder" || exit 1

MEMORY_MB=4000
failed=0
done=0
figure() { sed -n "s/$1/\\1/p" pan.out | head -n 1 | tr -d ' '; }
in_background() { # so that a signal ends what is under way
    nice "$@" &
    child=$!
    wait $child
    child=
}

# search KIND -DBOUND=...: builds pan and runs it; its report is in pan.out
search() {
    local kind=$1 flags run="-m20000"
    shift
    rm -f pan pan.* ./*.trail
    case $kind in
    exact) flags="-O1 -DSAFETY" ;;                 # every state is stored whole
    hashed) flags="-O1 -DSAFETY -DHC4 -DHASH64" ;; # as 96 bits of a hash each
    ends) flags="-O1 -DNP" run+=" -l" ;;           # is there a run that goes on for ever?
    shortest) flags="-O0 -DSAFETY -DBFS -DHC4 -DHASH64" run= ;;
    esac
    # Every step touches what all see, so there is nothing for partial order reduction to reduce. pan's own choice of a
    # hash has 32 bits that matter, and takes some states in ten thousand for others when hashes are all that it keeps.
    # shellcheck disable=SC2086
    if ! in_background spin -a "$@" ownership.pml >spin.out 2>&1 ||
        ! sed -i 's/hasher = d_sfh;/hasher = d_hash;/' pan.c ||
        ! in_background gcc -w -o pan pan.c -DNOREDUCE -DMEMLIM=$MEMORY_MB $flags >>spin.out 2>&1; then
        head -n 20 spin.out >&2
        echo "model: pan cannot be built" >&2
        exit 1
    fi
    # shellcheck disable=SC2086
    in_background ./pan $run >pan.out 2>&1
    done=$((done + 1))
    : >steps.txt
    [ ! -e ownership.pml.trail ] || steps "$@" >steps.txt
}

# What led to the error, a line for each step, and what was violated.
steps() {
    spin -t "$@" ownership.pml 2>&1 | sed 's/^ *//; /^spin:/d; s/^<<<<<START OF CYCLE.*/from here on it goes round:/' |
        sed '/VIOLATED/q; /^#processes/,$d' | grep -v '^$\|^never claim\|^Never claim'
}
tell() { [ "$trace" -eq 0 ] || sed 's/^/    /' steps.txt; }

why_incomplete() {
    grep -q 'max search depth too small' pan.out && echo "the search was cut at its depth"
    grep -q 'out of memory\|reached -DMEMLIM' pan.out && echo "it ran out of its $MEMORY_MB MB"
    grep -q 'Search not completed' pan.out && ! grep -q 'errors: [1-9]' pan.out && echo "it did not end"
    grep -q 'states, stored' pan.out || echo "pan said nothing"
}

# right NAME KIND BOUNDS...: no error, and nothing left out
right() {
    local name=$1 kind=$2 incomplete verdict=ok
    shift 2
    [[ $name == *"$only"* ]] || return 0
    search "$kind" "$@"
    incomplete=$(why_incomplete)
    if [ -n "$incomplete" ] || ! grep -q 'errors: 0' pan.out; then
        verdict=FAILED
        failed=$((failed + 1))
    fi
    printf '%-45s %-6s %9s states %10s transitions, depth %3s, %5.0f MB, %6s s\n' "$name" "$verdict" \
        "$(figure '^ *\([0-9]*\) states, stored.*')" "$(figure '^ *\([0-9.e+]*\) transitions.*')" \
        "$(figure '.*depth reached \([0-9]*\),.*')" "$(figure '^ *\([0-9.]*\).*total actual memory usage')" \
        "$(figure 'pan: elapsed time \([0-9.e+]*\) seconds')"
    [ -z "$incomplete" ] || printf '    %s\n' "$incomplete"
    [ ! -s steps.txt ] || trace=1 tell
}

# broken MACRO PROPERTY BOUNDS...: an error must be found, and it must be that property's
broken() {
    local name=$1 property=$2 kind=shortest
    shift 2
    [[ $name == *"$only"* ]] || return 0
    [ "$property" != "every run ends" ] || kind=ends
    search $kind -D"$name" "$@"
    local why
    why=$(sed -n 's/^VIOLATED: \([^:]*\).*/\1/p' steps.txt)
    [ -s steps.txt ] && grep -q '^from here on' steps.txt && why="every run ends"
    if [ "$why" = "$property" ] && grep -q 'errors: [1-9]' pan.out; then
        printf '%-26s caught: %-20s after %2d steps, %7s states\n' "$name" "$why" \
            "$(grep -vc 'VIOLATED\|^from here on' steps.txt)" "$(figure '^ *\([0-9]*\) states, stored.*')"
        tell
    else
        failed=$((failed + 1))
        printf '%-26s NOT CAUGHT by "%s": this model cannot fail. %s\n' "$name" "$property" "${why:+It says: $why}"
        why_incomplete
        trace=1 tell
    fi
}

small="-DREQUESTS=1 -DEVENTS=0 -DSNAPSHOTS=0"
# shellcheck disable=SC2086
if [ $large -eq 0 ]; then
    echo "The protocol:"
    right "a move" exact -DFAULTS=0 -DEVENTS=2
    right "a move, any fault" exact $small -DFAULTS=1
    right "a move, any fault: every run ends" ends $small -DFAULTS=1 -DROWS_STAY=0
    right "a move, any fault, an event" exact -DREQUESTS=1 -DEVENTS=1 -DSNAPSHOTS=0 -DFAULTS=1
    right "a move, any fault, a snapshot" exact -DREQUESTS=1 -DEVENTS=0 -DSNAPSHOTS=1 -DFAULTS=1
    right "a move, any fault or a lie, two requests" exact -DREQUESTS=2 -DEVENTS=0 -DSNAPSHOTS=0 -DFAULTS=1 -DKINDS=63
    right "a move to a standby, any fault" exact $small -DFAULTS=1 -DSTANDBYS=1
    right "two moves between standbys" exact -DREQUESTS=2 -DEVENTS=0 -DSNAPSHOTS=0 -DFAULTS=0 -DMOVES=2 -DSTANDBYS=1
    right "failover, any two faults, a snapshot" exact -DREQUESTS=1 -DEVENTS=0 -DFAULTS=2 -DMOVES=0
    right "failover, any two faults or lies" exact $small -DFAULTS=2 -DMOVES=0 -DKINDS=63
    right "failover, any two faults: every run ends" ends $small -DFAULTS=2 -DMOVES=0
    right "three pods: a move, any fault" exact $small -DPODS=3 -DFAULTS=1 -DROWS_STAY=0
    right "three pods: failover, any two faults" exact $small -DPODS=3 -DFAULTS=2 -DMOVES=0 -DROWS_STAY=0
else
    echo "The protocol, within wide bounds:"
    right "a move, any two faults or lies" hashed $small -DFAULTS=2 -DKINDS=63 -DROWS_STAY=0
    right "two moves, any fault" hashed $small -DFAULTS=1 -DMOVES=2 -DROWS_STAY=0
    right "two moves between standbys, any fault" hashed $small -DFAULTS=1 -DMOVES=2 -DSTANDBYS=1
    right "failover, any three faults" hashed $small -DFAULTS=3 -DMOVES=0 -DROWS_STAY=0
fi
# shellcheck disable=SC2086
if [ $large -eq 0 ]; then
    echo "Broken on purpose:"
    broken IGNORE_REFUSED "kept" $small -DFAULTS=1
    broken GUESS_UNKNOWN "kept" $small -DFAULTS=1 -DMOVES=0
    broken REPLY_BEFORE_CONFIRM "kept" $small -DFAULTS=0
    broken UNSEAL_WITHOUT_LOG "one writer" $small -DFAULTS=0
    broken CLAIM_WITHOUT_READING "rows" $small -DFAULTS=1 -DMOVES=0
    broken CLAIM_WITHOUT_SEAL "reads" $small -DFAULTS=0 -DMOVES=2 -DSTANDBYS=1
    broken TAKE_WITHOUT_LOOKING "one writer" $small -DFAULTS=1 -DMOVES=2 -DSTANDBYS=1
    broken UNSEAL_OVER_A_CLAIM "reads" $small -DFAULTS=1
    broken YIELD_OUTLIVES_OWN "one writer" $small -DFAULTS=0
    broken REFUSAL_FORGOTTEN "every run ends" $small -DFAULTS=1 -DROWS_STAY=0
    broken REPORTS_BEFORE_CONFIRMED "an owner" $small -DFAULTS=2 -DMOVES=0
    broken LOST_LEASE_FORGIVEN "reads" $small -DFAULTS=1 -DROWS_STAY=0
    broken READS_BY_LEASE_ALONE "reads" $small -DFAULTS=1 -DMOVES=0
    broken READS_BY_ORDER "reads" $small -DFAULTS=3 -DMOVES=0 -DROWS_STAY=0 -DKINDS=12
    broken READS_JOIN_WHAT_IS_SENT "reads" $small -DFAULTS=1 -DMOVES=0
    broken OURS_BY_PROCESS "kept" $small -DFAULTS=3 -DMOVES=0 -DROWS_STAY=0 -DKINDS=28
    broken ANSWERS_STAY_BEHIND "once" $small -DFAULTS=1 -DMOVES=0
    broken USE_DIRTY_ROWS "rows" $small -DFAULTS=1 -DMOVES=0
    broken SNAPSHOT_WITHOUT_EXPECTED "one writer" -DREQUESTS=1 -DEVENTS=0 -DFAULTS=2 -DMOVES=0
    broken SNAPSHOT_POSITION_FIRST "rows" -DREQUESTS=1 -DEVENTS=0 -DFAULTS=1
fi
if [ $done -eq 0 ]; then
    echo "model: nothing has \"$only\" in its name" >&2
    exit 2
fi
if [ $failed -gt 0 ]; then
    echo "model: $failed of $done are not as they should be"
    exit 1
fi
echo "model: all as they should be, searches: $done"
