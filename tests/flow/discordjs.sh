#!/bin/sh
# discordjs.sh <folder of the programs> <folder for node_modules> <test>
#
# Checks the simulated Discord with what others wrote (discord.js, @discordjs/ws, discord-interactions, Discord's own
# OpenAPI description), and our gateway with the same scripts. Installs the versions of package-lock.json into the
# folder, once. Exits 77 (skipped) when node, npm or the packages are not to be had.
set -eu
bin=$1 folder=$2 test=$3
here=$(cd "$(dirname "$0")" && pwd)

skip() {
    echo "skipped: $1" >&2
    exit 77
}
command -v node >/dev/null || skip "node is missing (18 or newer)"
command -v npm >/dev/null || skip "npm is missing"
node -e 'process.exit(+process.versions.node.split(".")[0] >= 18 ? 0 : 1)' ||
    skip "node is $(node --version), 18 or newer is needed"

# The tests are copied beside node_modules: node looks for packages from the importing file upwards.
mkdir -p "$folder"
cp "$here/package.json" "$here/package-lock.json" "$here"/discordjs/*.mjs "$here"/discordjs/*.json "$folder/"
cd "$folder"
if ! cmp -s package-lock.json installed-lock.json; then
    npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1 || {
        cat npm.log >&2
        skip "npm ci failed: the packages are not to be had"
    }
    cp package-lock.json installed-lock.json
fi
SIM="$bin/guildbus-discord-sim" BIN="$bin" PROTO="$here/../../messages/guildbus.proto" \
    exec node --test "./$test.test.mjs"
