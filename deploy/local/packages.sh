#!/bin/sh
# packages.sh SET...: installs the Debian packages of these sets that are missing, and says which.
# A second run finds them all and needs no network.
set -eu

build="build-essential cmake ninja-build pkg-config libnats-dev libwebsockets-dev libsqlite3-dev libpq-dev
 libprotobuf-c-dev protobuf-c-compiler libjansson-dev libcurl4-openssl-dev libssl-dev zlib1g-dev libicu-dev
 libcmocka-dev uthash-dev"
python="python3"
run="nats-server"
postgres="postgresql"
image="ca-certificates"
deploy="debootstrap|debootstrap git|git python3-yaml python3-pip|pip3 openssl|openssl nodejs|node npm|npm"
# a name after | is a command that shows that another package already does the same
browser="nodejs|node npm|npm chromium|chromium ca-certificates fonts-dejavu-core"
lint="clang|clang clang-format|clang-format clang-tidy|clang-tidy cppcheck shellcheck universal-ctags|ctags"

is_there() {
    case $1 in *"|"*) if command -v "${1#*|}" >/dev/null 2>&1; then return 0; fi ;; esac
    [ "$(dpkg-query -W -f '${db:Status-Status}' "${1%%|*}" 2>/dev/null)" = installed ]
}

missing=
for set in "$@"; do
    case $set in
    build) list=$build ;;
    python) list=$python ;;
    run) list=$run ;;
    postgres) list=$postgres ;;
    browser) list=$browser ;;
    lint) list=$lint ;;
    image) list=$image ;;
    deploy) list=$deploy ;;
    *)
        echo "packages.sh: no set named $set" >&2
        exit 2
        ;;
    esac
    for package in $list; do
        is_there "$package" || missing="$missing ${package%%|*}"
    done
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "This needs Debian 12 or 13 (or a system with its packages). Missing:$missing" >&2
    exit 1
fi
echo "Installing:$missing" >&2
root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Neither root nor sudo. Ask whoever is root here to run:" >&2
        echo "  apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    root=sudo
fi

# Debian's postgresql makes and starts a cluster of its own unless told not to; only its programs are wanted.
no_cluster=/etc/postgresql-common/createcluster.d/guildbus.conf
case " $missing " in
*" postgresql "*)
    $root mkdir -p "${no_cluster%/*}"
    echo "create_main_cluster = false" | $root tee "$no_cluster" >/dev/null
    ;;
esac

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # missing is a list
if ! { $root apt-get -q update &&
    $root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install $missing; } \
    </dev/null >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    echo "apt-get failed (above); the packages wanted were:$missing" >&2
    exit 1
fi
[ ! -e "$no_cluster" ] || $root rm -f "$no_cluster"
echo "Installed." >&2
