#!/usr/bin/env bash
# Wrong guess: a WebSocket client gives the application the close code that the server sent, and 1006 if there was
#   none.
# True: faye-websocket 0.11.4 (npm; the Ruby gem of the same authors does so too) reports 1002 "protocol error" when
#   the upgrade was refused with a status, such as 401, 429 or 503. `ws` 8.23.0 reports 1006 and the browser's
#   interface too.
# Why it matters: feeds document 1002 as "correct your client, do not come back". A rejected key, a full server and a
#   restart behind a proxy all look like that. The status is in the event's text only, or on the client object.
# What to do: decide by the status before the close code: `client.statusCode` / the text of the `close` event.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund faye-websocket@0.11.4 ws@8.23.0
cat > run.mjs <<'JS'
import http from 'node:http';
import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
const faye = require('faye-websocket'), ws = require('ws');
const server = http.createServer().on('upgrade', (request, socket) => {
  socket.end(`HTTP/1.1 ${request.url.slice(1)} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const seen = {};
for (const status of [401, 429, 503]) {
  const url = `ws://127.0.0.1:${server.address().port}/${status}`;
  for (const [name, client] of [['faye-websocket', new faye.Client(url)], ['ws', new ws.WebSocket(url)]]) {
    client.addEventListener ? client.addEventListener('error', () => {}) : client.on('error', () => {});
    (seen[name] ??= {})[status] = await new Promise((done) => {
      if (name === 'ws') client.on('close', (code) => done(code));
      else client.on('close', (event) => done(`${event.code} ${event.reason}`));
    });
  }
}
console.log(seen);
const so = Object.values(seen['faye-websocket']).every((text) => text.startsWith('1002 ')) && Object.values(seen.ws).every((code) => code === 1006);
console.log(so ? 'still so' : 'no longer so');
process.exit(so ? 0 : 1);
JS
node run.mjs
npm ls --depth=0
