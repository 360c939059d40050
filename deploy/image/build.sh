#!/bin/sh
# build.sh FOLDER: builds the programs and makes the roots of their images, FOLDER/gateway, edge, coordinator and ctl,
# and FOLDER/data, an empty folder to be the program's own.
set -eu
out=$1
bin=build/release/bin

deploy/local/build.sh release
strip "$bin"/guildbus-gateway "$bin"/guildbus-edge "$bin"/guildbus-coordinator "$bin"/guildbusctl "$bin"/guildbusctl-api
mkdir -p "$out/data"
for program in gateway edge coordinator; do
    deploy/image/root.sh "$out/$program" "$bin/guildbus-$program"
done
deploy/image/root.sh "$out/ctl" "$bin/guildbusctl" "$bin/guildbusctl-api"
