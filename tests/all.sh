#!/bin/bash
# all.sh: everything that a change must pass, as ./dev test and CI run it. Steps that fail do not stop the others.
set -u
cd "$(dirname "$0")/.." || exit 1

usage() {
    echo "usage: ./dev test [--quick | discord | deploy]"
    echo "  --quick   the dev build and its tests only"
    echo "  discord   what others wrote against the simulated Discord, our gateway with the same scripts, and the unit"
    echo "            tests and fuzz corpora of all that speaks to Discord"
    echo "  deploy    what deploy/ has: manifests against Kubernetes' schemas and our policy, NATS's chart, compose, systemd"
    echo "            units, and the images, built and run in chroots of Debian 12; needs no cluster and no Docker"
}
quick=0
only=all
case ${1:-} in
--quick) quick=1 ;;
discord | deploy)
    quick=1
    only=$1
    ;;
-h | --help)
    usage
    exit 0
    ;;
'') ;;
*)
    usage >&2
    exit 2
    ;;
esac

passed=0
failed=0
skipped=0
failures=()

step() { # step NAME COMMAND...
    local name=$1 start=$SECONDS
    shift
    echo "=== $name"
    "$@"
    local code=$?
    if [ $code -eq 0 ]; then
        passed=$((passed + 1))
        echo "=== $name: ok ($((SECONDS - start)) s)"
    elif [ $code -eq 77 ]; then
        skipped=$((skipped + 1))
        echo "=== $name: SKIPPED ($((SECONDS - start)) s)"
    else
        failed=$((failed + 1))
        failures+=("$name")
        echo "=== $name: FAILED ($((SECONDS - start)) s)"
    fi
}

tests() { # tests PRESET [ctest options]
    local preset=$1
    shift
    ctest --preset "$preset" -j "$(nproc)" "$@"
}

# They wait more than they compute.
units() { # units PRESET [ctest options]
    local preset=$1
    shift
    ctest --preset "$preset" -j "$(($(nproc) + 2))" "$@"
}

# Whole systems on a machine that others use, too: one that failed gets a second try, and the output says so.
flows() { # flows PRESET [ctest options]
    local preset=$1
    shift
    tests "$preset" -L flow --repeat until-pass:2 "$@"
}

# Each says what was missing when it is skipped; they need the release build.
deploy_tests() {
    step "deploy: manifests" python3 tests/deploy/test_manifests.py
    step "deploy: NATS's chart" python3 tests/deploy/test_nats_chart.py
    step "deploy: compose" python3 tests/deploy/test_compose.py
    step "deploy: systemd" python3 tests/deploy/test_systemd.py
    step "deploy: images" python3 tests/deploy/test_image.py
}

discord_units='^(sim/|unit/base/sign$|unit/(messages/interaction|edge/(defer|webhook))$|fuzz/(frame|inflate|webhook|signature|rest_headers)$|unit/gateway/(shard|frame|inflate|guild_cut|publish_window|answering|identify|gateway_info|rest_|discord_rest))'
discord_flows='^flow/(discordjs/|gateway_interactions$|deferral$)'

[ "$only" = deploy ] || step "build: dev" deploy/local/build.sh dev
if [ "$only" = deploy ]; then
    step "build: release" deploy/local/build.sh release
    deploy_tests
elif [ "$only" = discord ]; then
    step "Discord: units and fuzz corpora" tests dev -R "$discord_units"
    step "Discord: witnesses, and our gateway with the same scripts" flows dev -R "$discord_flows"
else
    step "tests: dev" units dev -LE 'flow|failpoint|model'
    step "flows: dev" flows dev
    step "failpoints: dev" tests dev -L failpoint
fi
if [ $quick -eq 0 ]; then
    step "build: release" deploy/local/build.sh release
    step "smoke: SQLite" python3 tests/smoke/smoke.py --guilds 20 --events 4000
    step "smoke: PostgreSQL" python3 tests/smoke/smoke.py --guilds 20 --events 4000 --postgres
    step "portal in a browser" python3 tests/browser/browser.py
    deploy_tests
    step "build: address, undefined" deploy/local/build.sh asan
    step "tests: address, undefined" units asan -E '^static/' -LE 'flow|failpoint|model'
    step "flows: address, undefined" flows asan
    step "build: thread" deploy/local/build.sh tsan
    step "tests: thread" tests tsan -L unit
    step "build: clang" deploy/local/build.sh clang
    step "lint" tests/static/lint.sh
    step "model: who owns a guild" tests/model/check.sh
    step "up" python3 deploy/local/up.py --run-dir build/up --fresh --for 5
    step "build: chaos" deploy/local/build.sh chaos
    step "chaos" python3 tests/chaos/chaos.py --seed 1 --for 40
fi
for name in ${failures[@]+"${failures[@]}"}; do
    echo "failed: $name"
done
[ $skipped -eq 0 ] || skips=", $skipped skipped"
echo "$passed passed, $failed failed${skips:-}"
[ $failed -eq 0 ]
