#!/usr/bin/env bash
# Runs a command with a PostgreSQL of its own: run_with_postgres.sh COMMAND [ARG…]
#
# A new cluster in a temporary folder, reachable by its Unix socket and a TCP port that was free, whose
# URL the command finds in DATABASE_URL. It is stopped and removed when the command ends. As root it
# runs as the user postgres, because PostgreSQL refuses root. Exits 77 when PostgreSQL is missing.
set -euo pipefail

say() { echo "run_with_postgres: $*" >&2; }

# PG_BIN, else the newest that Debian installed, else what is in PATH.
find_bin() {
    local dir found=
    for dir in "$(dirname "$(command -v pg_isready || echo /)")" /usr/lib/postgresql/*/bin "${PG_BIN:-}"; do
        if [ -n "$dir" ] && [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && [ -x "$dir/pg_isready" ]; then
            found=$dir
        fi
    done
    echo "$found"
}

# The kernel's choice. Someone else may take the port before the server does: then we try another.
free_port() {
    python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

if [ $# -eq 0 ]; then
    say "usage: run_with_postgres.sh COMMAND [ARG...]"
    exit 2
fi
bin=$(find_bin)
if [ -z "$bin" ]; then
    say "SKIPPED: PostgreSQL is not installed (Debian: apt-get install postgresql)"
    exit 77
fi
# Not runuser: that stays in between as a parent of its own, and signals would end at it. The server goes
# with this script, also when that is killed.
as_server=(setpriv --pdeathsig INT --)
if [ "$(id -u)" -eq 0 ]; then
    if ! id postgres >/dev/null 2>&1; then
        say "SKIPPED: PostgreSQL must not run as root and there is no user postgres"
        exit 77
    fi
    as_server=(setpriv --pdeathsig INT --reuid=postgres --regid=postgres --init-groups --)
fi

dir=$(mktemp -d /tmp/guildbus-pg.XXXXXX)
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
        kill -INT "$server_pid" 2>/dev/null || true # fast shutdown
        wait "$server_pid" 2>/dev/null || true
    fi
    rm -rf "$dir"
    exit "$code"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

chmod 755 "$dir"
mkdir "$dir/data" "$dir/socket"
if [ "$(id -u)" -eq 0 ]; then
    chown -R postgres "$dir"
fi
cd "$dir" # a folder that the server's user can enter
if ! "${as_server[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --no-locale -N \
    >"$dir/initdb.log" 2>&1; then
    say "initdb failed:"
    cat "$dir/initdb.log" >&2
    exit 1
fi

# True when the server answers.
start_server() {
    "${as_server[@]}" "$bin/postgres" -D "$dir/data" -p "$1" -k "$dir/socket" \
        -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=50 -c shared_buffers=32MB \
        >"$dir/server.log" 2>&1 &
    server_pid=$!
    while kill -0 "$server_pid" 2>/dev/null; do
        if "$bin/pg_isready" -q -h 127.0.0.1 -p "$1" && [ -S "$dir/socket/.s.PGSQL.$1" ]; then
            return 0
        fi
        sleep 0.05
    done
    wait "$server_pid" || true
    server_pid=
    return 1
}

port=
for _ in 1 2 3 4 5; do
    port=$(free_port)
    if start_server "$port"; then
        break
    fi
    port=
done
if [ -z "$port" ]; then
    say "the server does not start:"
    cat "$dir/server.log" >&2
    exit 1
fi

export DATABASE_URL="postgresql://postgres@127.0.0.1:$port/postgres"
export PGDATA_LOG="$dir/server.log"
cd "$OLDPWD"
"$@" &
command_pid=$!
code=0
wait "$command_pid" || code=$?
command_pid=
exit "$code"
