#!/usr/bin/env bash
# Wrong guess: @microsoft/fetch-event-source behaves like EventSource and only adds request headers.
# True: with its default handlers it does the opposite of EventSource in both cases that matter:
#   - a refused request (401, 403, 410 …): EventSource stops for good; fetch-event-source asks again every second, for
#     ever;
#   - a stream that the server ends in an orderly way: EventSource comes back with Last-Event-ID; fetch-event-source
#     is finished, without an error.
# Versions: @microsoft/fetch-event-source 2.0.1, eventsource 5.1.5.
# Why it matters: a CRM front end that swaps one for the other to send its API key in a header goes silent at the
#   first restart of the feed, and hammers the feed with a revoked key (which then counts as guessing).
# What to do: throw a "fatal" error from onopen for 4xx and from onerror; throw a "retriable" one from onclose.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @microsoft/fetch-event-source@2.0.1 eventsource@5.1.5
cat > run.mjs <<'JS'
import http from 'node:http';
import { createRequire } from 'node:module';
import { EventSource } from 'eventsource';
const require = createRequire(import.meta.url);
const { fetchEventSource } = require('@microsoft/fetch-event-source');
// The library expects a page around it.
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };

const asked = {}, resumed = {};
const server = http.createServer((request, response) => {
  asked[request.url] = (asked[request.url] ?? 0) + 1;
  if (request.headers['last-event-id']) resumed[request.url] = request.headers['last-event-id'];
  if (request.url.startsWith('/401')) {
    response.writeHead(401, { 'content-type': 'application/json' });
    return response.end('{"code":"INVALID_API_KEY"}');
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.end('retry: 500\n\nid: 7\nevent: call.ring\ndata: {"call_id":1}\n\n');
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const base = `http://127.0.0.1:${server.address().port}`;
let settled = false;
for (const path of ['/401', '/ended']) {
  const source = new EventSource(`${base}${path}/eventsource`);
  source.onerror = () => {};
  fetchEventSource(`${base}${path}/fetch`, { openWhenHidden: true })
    .then(() => { if (path === '/ended') settled = true; }, () => {});
}
await new Promise((done) => setTimeout(done, 5500));
console.log('requests in 5.5 s:', asked);
console.log('resumed with Last-Event-ID:', resumed, '| fetchEventSource of the ended stream resolved:', settled);
const so = asked['/401/eventsource'] === 1 && asked['/401/fetch'] >= 4
  && asked['/ended/eventsource'] >= 4 && asked['/ended/fetch'] === 1 && settled && resumed['/ended/eventsource'] === '7';
console.log(so ? 'still so' : 'no longer so');
process.exit(so ? 0 : 1);
JS
node run.mjs
npm ls --depth=0
