#!/usr/bin/env bash
# Visits a running portal with Chromium: PORTAL_URL=… SIM_ADMIN_URL=… run.sh
#
#   PORTAL_URL     the edge's public address
#   SIM_ADMIN_URL  the simulated Discord's admin address (GET /guilds)
#   SCREENSHOT     where to put a picture of the guild's page (portal.png in BROWSER_DIR)
#   BROWSER_DIR    where the npm packages go (build/browser)
#   CHROMIUM       the browser (/usr/bin/chromium)
#
# Exits 0 when all is well, 1 when something is wrong, 77 when a tool is missing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
dir=${BROWSER_DIR:-$here/../../build/browser}
chromium=${CHROMIUM:-/usr/bin/chromium}

skip() {
    echo "browser test SKIPPED: $*" >&2
    exit 77
}

: "${PORTAL_URL:?set it to the address of the portal}"
: "${SIM_ADMIN_URL:?set it to the admin address of the simulated Discord}"
command -v node >/dev/null || skip "node is missing (Debian: apt-get install nodejs)"
command -v npm >/dev/null || skip "npm is missing (Debian: apt-get install npm)"
[ -x "$chromium" ] || skip "$chromium is missing (Debian: apt-get install chromium)"

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
if ! cmp -s "$here/package.json" "$dir/package.json" || [ ! -d "$dir/node_modules/playwright-core" ]; then
    cp "$here/package.json" "$dir/package.json.new"
    (cd "$dir" && cp package.json.new package.json &&
        npm install --ignore-scripts --no-audit --no-fund --no-package-lock >npm.log 2>&1) || {
        rm -f "$dir/package.json"
        skip "npm cannot install playwright-core and axe-core, see $dir/npm.log"
    }
fi

cp "$here/portal.mjs" "$dir/portal.mjs"
profile=$(mktemp -d /tmp/guildbus-browser.XXXXXX)
trap 'rm -rf "$profile"' EXIT
SCREENSHOT=${SCREENSHOT:-$dir/portal.png} PROFILE=$profile CHROMIUM=$chromium node "$dir/portal.mjs"
