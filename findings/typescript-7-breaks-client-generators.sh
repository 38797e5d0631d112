#!/usr/bin/env bash
# Wrong guess: a code generator whose peer range admits an installed TypeScript works with it.
# True: `typescript` 7.0.2 (the native compiler, npm's `latest`) exports two version strings and no compiler interface. @hey-api/openapi-ts
#   0.95.0 admits it by its range (npm installs both without a word) and stops at its first import with a TypeError. With
#   TypeScript 5.9.3 it generates the client.
# Why it matters: a CRM's front end that moves to the new compiler can no longer generate its API client; the message
#   ("Cannot read properties of undefined") points into the generator.
# What to do: run generators with an older TypeScript of their own, in a package of their own.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/api.json" <<'JSON'
{"openapi":"3.1.0","info":{"title":"Calls","version":"1"},"paths":{"/calls":{"get":{"operationId":"listCalls","responses":{"200":{
 "description":"Calls","content":{"application/json":{"schema":{"type":"array","items":{"type":"object","properties":{"call_id":{"type":"string"}}}}}}}}}}}}
JSON
generate() {
    mkdir "$work/$1" && cd "$work/$1"
    npm init -y >/dev/null
    npm install --silent --no-audit --no-fund "typescript@$1" @hey-api/openapi-ts@0.95.0
    node -p '`typescript ${require("typescript").version}: ${Object.keys(require("typescript")).length} exports, peer range of @hey-api/openapi-ts: ${JSON.parse(require("fs").readFileSync("node_modules/@hey-api/openapi-ts/package.json")).peerDependencies.typescript}`'
    npx --no-install openapi-ts -i ../api.json -o client >log 2>&1
}
generate 5.9.3 || { cat log; echo 'no longer so: fails with 5.9.3'; exit 1; }
ls client
if generate 7.0.2; then echo 'no longer so: works with 7.0.2'; exit 1; fi
grep -m1 'TypeError' log
echo 'still so'
