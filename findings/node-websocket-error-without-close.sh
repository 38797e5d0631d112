#!/usr/bin/env bash
# Wrong guess: a WebSocket whose handshake is refused gives `error` and then `close` with 1006, as in every browser.
# True: the built-in WebSocket of Node 22.23.3 gives `error` only; that of Node 24.21.0 gives both.
# Why it matters: a client that reconnects in `onclose`, as all examples do, is silent for ever after one 502 of a proxy or
#   one restart of the server, without an exception and with a process that looks healthy.
# What to do: reconnect after `error` as well if the socket was never open, and once only.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
kind="$(node -p '`${process.platform}-${process.arch}`')"
npm install --silent --no-save "node-22@npm:node-$kind@22.23.3" "node-24@npm:node-$kind@24.21.0"
cat > refused.mjs <<'JS'
import { createServer } from 'node:http';
const server = createServer().listen(0, '127.0.0.1');
server.on('upgrade', (request, socket) => socket.end('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n'));
await new Promise((resolve) => server.once('listening', resolve));
const seen = [];
const socket = new WebSocket(`ws://127.0.0.1:${server.address().port}`);
socket.onerror = () => seen.push('error');
socket.onclose = ({ code }) => seen.push(`close ${code}`);
setTimeout(() => {
  console.log(seen.join(', '));
  process.exit();
}, 3000);
JS
for version in 22 24; do
    seen="$(node_modules/node-$version/bin/node refused.mjs 2>/dev/null)"
    echo "Node $("node_modules/node-$version/bin/node" --version): $seen"
    printf '%s\n' "$seen" >"$version"
done
[ "$(cat 22)" = error ] && [ "$(cat 24)" = 'error, close 1006' ] || { echo 'no longer so'; exit 1; }
echo 'still so'
