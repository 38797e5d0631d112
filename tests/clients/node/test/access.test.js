// Credentials: creating an app, the ways to pass its key, and refusals.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Call } from '../support/call.js';
import { eventually } from '../support/eventually.js';
import { Server } from '../support/server.js';
import { connected, events, open } from '../support/socket.js';

let server;
before(async () => (server = await Server.start()));
after(async () => server.stop());

test('an app is created and its key is shown', async () => {
  const app = await server.createApp();
  assert.match(app.app_id, /^[0-9a-f-]{36}$/);
  assert.match(app.api_key, /^raw_[0-9a-f]{64}$/);
  assert.match(app.message, /SAVE THE API KEY/);
});

test('a new app is not connected yet', async () => {
  const app = await server.createApp();
  const response = await server.get(app, '/status');
  assert.equal(response.status, 200);
  const status = await response.json();
  assert.deepEqual([status.connected, status.app_id], [false, app.app_id]);
});

const keyTransports = {
  'in a header': (app) => open(`${server.wsUrl}/ws`, { headers: { 'x-api-key': app.api_key } }),
  'in the query': (app) => open(`${server.wsUrl}/ws?api_key=${app.api_key}`),
  'in the first message': (app) => {
    const opened = open(`${server.wsUrl}/ws`);
    opened.ws.on('open', () => {
      opened.ws.send(JSON.stringify({ type: 'subscribe', api_key: app.api_key, types: ['call.*'] }));
    });
    return opened;
  },
};

for (const [transport, connect] of Object.entries(keyTransports)) {
  test(`a backend connects with its key ${transport}`, async () => {
    const app = await server.createApp();
    const opened = connect(app);
    assert.equal((await connected(opened)).app_id, app.app_id);
    await server.webhook(app, new Call(9876543210).ring());
    const [ring] = await events(opened, 1);
    assert.deepEqual([ring.type, ring.seq], ['call.ring', 1]);
    opened.ws.close();
  });
}

test('a wrong key is refused before the upgrade with a JSON error', async () => {
  const opened = open(`${server.wsUrl}/ws`, { headers: { 'x-api-key': 'raw_wrong' } });
  const refused = await eventually('the connection is refused', () => opened.refused);
  assert.equal(refused.statusCode, 401);
  const response = await fetch(`${server.url}/api/calls`, { headers: { 'x-api-key': 'raw_wrong' } });
  assert.equal(response.status, 401);
  const { error, code } = await response.json();
  assert.deepEqual({ error, code }, { error: 'Invalid API key', code: 'INVALID_API_KEY' });
});

test('a replaced key closes its sessions, and only the new key is accepted', async () => {
  const app = await server.createApp();
  const opened = open(`${server.wsUrl}/ws`, { headers: { 'x-api-key': app.api_key } });
  await connected(opened);
  const response = await server.internal('POST', `/internal/apps/${app.app_id}/api-key`);
  const replaced = await response.json();
  assert.equal(await eventually('the connection is closed', () => opened.closed), 4403);
  assert.equal((await server.get(app, '/api/calls')).status, 401);
  assert.equal((await server.get(replaced, '/api/calls')).status, 200);
});

test('requests of an inactive app are refused', async () => {
  const app = await server.createApp();
  await server.internal('PATCH', `/internal/apps/${app.app_id}`, { is_active: false });
  const response = await server.get(app, '/api/calls');
  assert.equal(response.status, 403);
  const { error, code } = await response.json();
  assert.deepEqual({ error, code }, { error: 'App is not active', code: 'APP_INACTIVE' });
});
