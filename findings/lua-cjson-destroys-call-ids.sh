#!/usr/bin/env bash
# Wrong guess: ids below 2^53 survive every JSON library.
# True: lua-cjson 2.1.0 (Debian 12) writes numbers with 14 significant digits, and encode_number_precision allows no
#   more. Dialpad's ids have 16: 4700000000000001 comes out as 4.7e+15. Millisecond times, with 13 digits, are right,
#   so nothing looks wrong.
# Why it matters: a gateway or a script in Lua that reads a call event and writes it on makes many calls one. Only
#   text ids pass.
# What to do: ids as strings in everything that passes through Lua.
# Needs a Debian 12 system (apt-get download; nothing is installed).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download lua-cjson lua5.1 liblua5.1-0 >/dev/null 2>&1
for package in *.deb; do echo "$package"; dpkg -x "$package" root; done
libraries=$(dirname "$(find root -name 'liblua5.1.so.0' | head -1)")
cat > run.lua <<'LUA'
local cjson = require('cjson')
local function through(text) return cjson.encode(cjson.decode(text)) end
local event = '{"call_id":4700000000000001}'
local plain, time, text = through(event), through('{"at":1704110403123}'), through('{"call_id":"4700000000000001"}')
local allowed, refusal = pcall(cjson.encode_number_precision, 16)
print('lua-cjson ' .. cjson._VERSION, event .. ' -> ' .. plain, time, text, 'precision 16: ' .. tostring(refusal))
local so = plain == '{"call_id":4.7e+15}' and time == '{"at":1704110403123}' and text == '{"call_id":"4700000000000001"}' and not allowed
print(so and 'still so' or 'no longer so')
os.exit(so and 0 or 1)
LUA
LD_LIBRARY_PATH="$libraries" LUA_CPATH="$libraries/lua/5.1/?.so" root/usr/bin/lua5.1 run.lua
