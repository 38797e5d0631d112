#!/usr/bin/env bash
# Wrong guess: the reconnecting WebSocket wrappers stop at close codes of the application (4000-4999), which mean a
#   decision and no accident, and at least slow down.
# True: reconnecting-websocket 4.4.0 and partysocket 1.3.0 come back after every close code but the one of their own
#   close(), 1000 included. A connection that lived as long as `minUptime` resets the pause, so they come back at full
#   speed.
# Why it matters: telephony feeds say "your key was revoked" (4403) or "a newer connection of the same consumer took
#   over"
#   (4409) with such codes. Two CRM processes on these wrappers that share a consumer throw each other out for ever.
# What to do: on `close`, compare the code and call close() on the wrapper.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund reconnecting-websocket@4.4.0 partysocket@1.3.0 ws@8.23.0
cat > run.mjs <<'JS'
import http from 'node:http';
import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
const ws = require('ws');
const Reconnecting = require('reconnecting-websocket');
const party = require('partysocket/ws');
const wrappers = { 'reconnecting-websocket': Reconnecting, partysocket: party.default ?? party.WebSocket ?? party };

const opened = {};
const sockets = new ws.WebSocketServer({ noServer: true });
const server = http.createServer().on('upgrade', (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, (peer) => {
    opened[request.url] = (opened[request.url] ?? 0) + 1;
    setTimeout(() => peer.close(Number(request.url.split('/')[2]), 'not again'), 40);
  });
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const options = { WebSocket: ws, minReconnectionDelay: 100, maxReconnectionDelay: 200, minUptime: 20 };
const codes = [1000, 4401, 4403, 4409];
for (const [name, Wrapper] of Object.entries(wrappers)) for (const code of codes) {
  const socket = new Wrapper(`ws://127.0.0.1:${server.address().port}/${name}/${code}`, [], options);
  socket.addEventListener('error', () => {});
}
await new Promise((done) => setTimeout(done, 3000));
console.log('connections in 3 s:', opened);
const so = Object.keys(opened).length === 8 && Object.values(opened).every((count) => count >= 5);
console.log(so ? 'still so' : 'no longer so');
process.exit(so ? 0 : 1);
JS
node run.mjs
npm ls --depth=0
