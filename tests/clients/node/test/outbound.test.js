// Connects an app as a browser does, places a call at Dialpad and follows it. Dialpad is the simulator.

import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, before, test } from 'node:test';

import { Crm } from '../support/crm.js';
import { eventually } from '../support/eventually.js';
import { Process } from '../support/process.js';
import { Server, skipIfExternal } from '../support/server.js';
import { connected, open } from '../support/socket.js';

const DIALPAD_KEY = 'static-key-of-this-run';
const USER = 5100000000000000;

let dialpad;
let dialpadUrl;
let server;

before(async () => {
  if (skipIfExternal) return;
  const args = ['simulate', '--listen', '127.0.0.1:0', '--api-key', DIALPAD_KEY, '--seed', '1'];
  dialpad = new Process([...args, '--switch', 'placed_call_pace=0.01'], { cwd: tmpdir(), env: {} });
  [, dialpadUrl] = await dialpad.waitForLine(/Dialpad simulator on (http:\S+)/);
  server = await Server.start({
    DIALPAD_SANDBOX_BASE_URL: dialpadUrl,
    DIALPAD_SANDBOX_CLIENT_ID: 'demo-client',
    DIALPAD_SANDBOX_CLIENT_SECRET: 'demo-secret',
  });
});
after(async () => {
  await server?.stop();
  await dialpad?.kill();
});

/** Does what a browser does when the user opens the authorization address and approves. */
async function connectDialpad(app) {
  const visit = (url, cookie) => fetch(url, { redirect: 'manual', headers: cookie ? { cookie } : {} });
  const asked = await visit(`${server.url}/authorize?app_id=${app.app_id}`);
  assert.equal(asked.status, 302);
  const cookie = asked.headers.getSetCookie().map((set) => set.split(';')[0]).join('; ');
  const approved = await visit(asked.headers.get('location'));
  assert.equal(approved.status, 302);
  return visit(approved.headers.get('location'), cookie);
}

test('an app is connected, and a placed call is followed to its end', { skip: skipIfExternal }, async () => {
  const app = await server.createApp();
  const answer = await (await connectDialpad(app)).json();
  assert.deepEqual(answer, { message: 'Dialpad connected', app_id: app.app_id, environment: 'sandbox' });
  const status = await (await server.get(app, '/status')).json();
  assert.deepEqual([status.connected, status.dialpad_org_id], [true, 12345678]);
  await eventually('the subscription is registered at Dialpad', async () => {
    const headers = { Authorization: `Bearer ${DIALPAD_KEY}` };
    const response = await fetch(`${dialpadUrl}/api/v2/subscriptions/call`, { headers });
    return ((await response.json()).items ?? []).length > 0;
  });

  const crm = new Crm();
  const early = [];
  let dialpadCallId = null;
  function follow(event) {
    if (event.dialpad_call_id !== dialpadCallId) return;
    switch (event.type) {
      case 'call.started':
        crm.updateCall(dialpadCallId, { status: 'active', answered_at: event.started_at });
        break;
      case 'call.ended':
        crm.updateCall(dialpadCallId, { status: 'completed', duration_seconds: event.duration_seconds });
        break;
    }
  }
  const opened = open(`${server.wsUrl}/ws`, { headers: { 'x-api-key': app.api_key } });
  opened.ws.on('message', (data) => {
    const event = JSON.parse(data);
    // Events may arrive before Dialpad's response with the id of the call.
    if (dialpadCallId === null) early.push(event);
    else follow(event);
  });
  await connected(opened);

  const response = await fetch(`${dialpadUrl}/api/v2/call`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${DIALPAD_KEY}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ user_id: USER, phone_number: '+14155551234' }),
  });
  assert.equal(response.status, 200);
  // Dialpad returns ids as strings; events have them as numbers.
  dialpadCallId = Number((await response.json()).call_id);
  crm.createCall({ dialpad_call_id: dialpadCallId, direction: 'outbound', status: 'initiated' });
  early.forEach(follow);

  const call = await eventually('the call is completed', () => {
    const record = crm.calls.get(dialpadCallId);
    return record.status === 'completed' && record;
  });
  opened.ws.close();
  assert.equal(typeof call.duration_seconds, 'number');
  const shown = await (await server.get(app, `/api/calls/${dialpadCallId}`)).json();
  assert.deepEqual([shown.direction, shown.status], ['outbound', 'ended']);
});
