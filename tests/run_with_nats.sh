#!/usr/bin/env bash
# Runs a command with a nats-server of its own: run_with_nats.sh [--user USER] COMMAND [ARG…]
#
# JetStream is on, with a temporary store. The server chooses its port; the command finds its URL in
# NATS_URL. It is stopped and its files are removed when the command ends. Exits 77 when nats-server
# is missing. NATS_SERVER names another binary.
#
# With --user (edge, gateway, coordinator) the server has the users of deploy/nats/auth.conf: NATS_NKEY_SEED_FILE is the
# key of USER, for programs and what stands for them; NATS_TESTS_URL is for the test itself, who may do everything. It
# fails when the server refused anybody anything. guildbusctl stands beside the command.
set -euo pipefail

say() { echo "run_with_nats: $*" >&2; }

user=
if [ "${1:-}" = --user ] && [ $# -gt 1 ]; then
    user=$2
    shift 2
fi
if [ $# -eq 0 ]; then
    say "usage: run_with_nats.sh [--user USER] COMMAND [ARG...]"
    exit 2
fi
server=${NATS_SERVER:-$(command -v nats-server || true)}
if [ -z "$server" ] && [ -x /usr/sbin/nats-server ]; then
    server=/usr/sbin/nats-server
fi
if [ -z "$server" ]; then
    say "SKIPPED: nats-server is not installed (Debian: apt-get install nats-server)"
    exit 77
fi

dir=$(mktemp -d /tmp/guildbus-nats.XXXXXX)
command_pid=
server_pid=
# shellcheck disable=SC2317 # called by trap
finish() {
    local code=$?
    trap - EXIT INT TERM
    if [ -n "$command_pid" ]; then
        kill "$command_pid" 2>/dev/null || true
        wait "$command_pid" 2>/dev/null || true
    fi
    if [ -n "$server_pid" ]; then
        kill "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
    fi
    rm -rf "$dir"
    exit "$code"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# Port -1: the server chooses, and writes what it chose into a file of this folder.
cat >"$dir/server.conf" <<CONF
host: 127.0.0.1
port: -1
ports_file_dir: "$dir"
jetstream { store_dir: "$dir/store" }
CONF
if [ -n "$user" ]; then
    python3 "$(dirname "$0")/smoke/nats_auth.py" "$dir" "$(dirname "$1")"
    echo "include auth.conf" >>"$dir/server.conf"
    set -a
    # shellcheck disable=SC1091 # made just now
    . "$dir/keys/nats.env"
    set +a
    export NATS_NKEY_SEED_FILE=$dir/keys/$user.seed
fi
# It goes with this script, also when that is killed.
setpriv --pdeathsig TERM -- "$server" -c "$dir/server.conf" >"$dir/server.log" 2>&1 &
server_pid=$!

# The file may be seen half written: only a whole list of URLs counts.
read_url() {
    python3 - "$dir" <<'PY'
import glob, json, sys
for name in glob.glob(sys.argv[1] + "/*.ports"):
    try:
        print(json.load(open(name))["nats"][0])
    except (ValueError, KeyError, IndexError):
        pass
PY
}

url=
while [ -z "$url" ]; do
    if ! kill -0 "$server_pid" 2>/dev/null; then
        say "the server does not start:"
        cat "$dir/server.log" >&2
        exit 1
    fi
    url=$(read_url)
    [ -n "$url" ] || sleep 0.05
done
until grep -q "Server is ready" "$dir/server.log"; do
    sleep 0.05
done

export NATS_URL=$url
[ -z "$user" ] || export NATS_TESTS_URL=${url/:\/\//://tests:tests@}
"$@" &
command_pid=$!
code=0
wait "$command_pid" || code=$?
command_pid=
if [ -n "$user" ] && grep -E ' Violation - |authentication error' "$dir/server.log" >&2; then
    say "NATS refused that: see deploy/nats/auth.conf"
    code=1
fi
exit "$code"
