// Reconnecting and catching up after the server was killed.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';

import WebSocket from 'ws';

import { Call } from '../support/call.js';
import { eventually } from '../support/eventually.js';
import { Server, skipIfExternal } from '../support/server.js';

let server;
before(async () => (server = await Server.start()));
after(async () => server.stop());

test('a backend catches up with the calls that changed since its last request', async () => {
  const app = await server.createApp();
  const callTracker = new Map();
  let lastSyncTime = Date.now();

  async function syncMissingCalls() {
    const startedAt = Date.now();
    const response = await server.get(app, `/api/calls?since=${lastSyncTime}`);
    assert.equal(response.status, 200);
    const calls = await response.json();
    const missing = calls.filter((call) => !callTracker.has(call.id));
    missing.forEach((call) => callTracker.set(call.id, call));
    lastSyncTime = startedAt;
    return missing.map((call) => call.call_id);
  }

  await server.webhooks(app, [...new Call(1).life(), new Call(2).ring()]);
  await eventually('both calls are stored', async () => {
    const calls = await (await server.get(app, '/api/calls')).json();
    return calls.length === 2 && calls.some((call) => call.status === 'ended');
  });
  assert.deepEqual((await syncMissingCalls()).sort(), [1, 2]);
  assert.deepEqual(await syncMissingCalls(), []);
});

test('a backend reconnects after the server was killed', { skip: skipIfExternal }, async () => {
  const app = await server.createApp();
  const received = [];
  let sockets = 0;
  let done = false;

  function connectWebSocket() {
    const ws = new WebSocket(`${server.wsUrl}/ws`, { headers: { 'x-api-key': app.api_key } });
    ws.on('message', (data) => {
      const event = JSON.parse(data);
      if (event.type === 'connected') sockets += 1;
      else received.push(event);
    });
    ws.on('close', () => {
      if (!done) setTimeout(connectWebSocket, 50);
    });
    ws.on('error', () => {});
    return ws;
  }

  const before = Date.now();
  connectWebSocket();
  await eventually('the first socket is open', () => sockets === 1);
  await server.webhook(app, new Call(1).ring());
  await eventually('the first call is received', () => received.length === 1);
  await server.kill();
  await server.restart();
  await eventually('the backend has reconnected', () => sockets === 2);
  await server.webhook(app, new Call(2).ring());
  await eventually('the second call is received', () => received.length === 2);
  done = true;
  await server.kill();
  await server.restart();

  assert.deepEqual(
    received.map(({ seq, call_id }) => [seq, call_id]),
    [
      [1, 1],
      [2, 2],
    ],
  );
  const since = await (await server.get(app, `/api/calls?since=${before}`)).json();
  assert.deepEqual(
    since.map((call) => call.call_id),
    [1, 2],
  );
});

/** Writes the client of docs/api.md, with its two functions, as a program, and returns how to start it. */
async function documentedClient(folder) {
  const documentation = new URL('../../../../docs/api.md', import.meta.url);
  const text = await readFile(documentation, 'utf8');
  const section = text.slice(text.indexOf('### A client that misses nothing'));
  const [, code] = /```js\n([\s\S]*?)```/.exec(section);
  const functions = `
    import { appendFileSync } from 'node:fs';
    async function handle(event) { appendFileSync('received', JSON.stringify(event) + '\\n'); }
    async function readCallsAgain(gap) { appendFileSync('gaps', JSON.stringify(gap) + '\\n'); }
  `;
  // Below node_modules, so that it finds ws.
  const directory = fileURLToPath(new URL('../node_modules/.run/', import.meta.url));
  await mkdir(directory, { recursive: true });
  const file = join(directory, `client-${process.pid}.mjs`);
  await writeFile(file, code + functions);
  return () => spawn(process.execPath, [file], { cwd: folder, env: clientSettings(), stdio: 'inherit' });
}

let key = null;
const clientSettings = () => ({ PATH: process.env.PATH, CTI_API_KEY: key, CTI_WS: server.wsUrl });

test('the client of docs/api.md misses nothing when the server is killed', { skip: skipIfExternal }, async (t) => {
  const app = await server.createApp();
  key = app.api_key;
  const folder = await mkdtemp(join(tmpdir(), 'cti-node-client-'));
  const start = await documentedClient(folder);
  let client = start();
  const exit = async () => {
    if (client.exitCode !== null || client.signalCode !== null) return;
    const exited = once(client, 'exit');
    client.kill('SIGTERM');
    await exited;
  };
  t.after(async () => {
    await exit();
    await rm(folder, { recursive: true, force: true });
  });
  const received = async () => {
    const text = await readFile(join(folder, 'received'), 'utf8').catch(() => '');
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  };
  const cursor = async () => readFile(join(folder, 'cti.cursor'), 'utf8').catch(() => null);
  await eventually('the client is connected', async () => (await cursor())?.endsWith(':0'));

  let sent = 0;
  for (const round of [1, 2, 3]) {
    await server.webhooks(app, new Call(round).life());
    sent += 5;
    await server.kill();
    if (round === 2) {
      await exit();
      client = start();
    }
    await server.restart();
  }
  const events = await eventually('all events are received', async () => {
    const events = await received();
    return events.length >= sent && events;
  });
  await eventually('the cursor is at the end', async () => (await cursor()).endsWith(`:${sent}`));
  // Only events that were handled but not yet saved when the client was stopped may come twice.
  const ids = new Set(events.map(({ event_id }) => event_id));
  assert.equal(ids.size, sent);
  const seqs = [...new Set(events.map(({ seq }) => seq))];
  assert.deepEqual(seqs, Array.from({ length: sent }, (_, index) => index + 1));
});
