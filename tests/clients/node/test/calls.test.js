// Calls, in three ways: over the WebSocket, by polling, and both.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import WebSocket from 'ws';

import { CALLED, CALLER, Call } from '../support/call.js';
import { Crm } from '../support/crm.js';
import { eventually } from '../support/eventually.js';
import { Server } from '../support/server.js';
import { connected, events, open } from '../support/socket.js';

let server;
before(async () => (server = await Server.start()));
after(async () => server.stop());

test('a backend that switches on the event type records a whole call', async () => {
  const app = await server.createApp();
  const crm = new Crm();
  const timers = [];
  const history = [];
  const ws = new WebSocket(`${server.wsUrl}/ws?api_key=${app.api_key}`);
  let opened = false;

  ws.on('message', (data) => {
    const event = JSON.parse(data);
    switch (event.type) {
      case 'connected':
        opened = true;
        break;
      case 'call.ring':
        crm.createActivity({
          type: 'call',
          status: 'ringing',
          contact_id: crm.findContactByPhone(event.from_number).id,
          from: event.from_number,
          to: event.to_number,
          cti_call_id: event.call_id,
        });
        break;
      case 'call.started':
        timers.push(event.call_id);
        break;
      case 'call.ended':
        history.push(event);
        break;
    }
  });

  await eventually('the socket is open', () => opened);
  await server.webhooks(app, new Call(9876543210).life());
  await eventually('the call is over', () => history.length > 0);
  ws.close();

  const [activity] = crm.activities;
  assert.deepEqual([activity.from, activity.to, activity.cti_call_id], [CALLER, CALLED, 9876543210]);
  assert.deepEqual(timers, [9876543210]);
  const [ended] = history;
  assert.deepEqual(
    [ended.duration_seconds, ended.talk_seconds, ended.hold_seconds, ended.ended_at],
    [180, 172, 5, '2024-01-01T12:03:00Z'],
  );
});

test('events have the fields of their types, and the call id under both names', async () => {
  const app = await server.createApp();
  const opened = open(`${server.wsUrl}/ws`, { headers: { 'x-api-key': app.api_key } });
  await connected(opened);
  await server.webhooks(app, new Call(7).life());
  const received = await events(opened, 5);
  opened.ws.close();
  assert.deepEqual(
    received.map(({ type }) => type),
    ['call.ring', 'call.started', 'call.held', 'call.resumed', 'call.ended'],
  );
  for (const event of received) assert.deepEqual([event.call_id, event.dialpad_call_id], [7, 7]);
  const [ring, started, held, resumed] = received;
  assert.equal(ring.ringing_at, '2024-01-01T12:00:00Z');
  assert.equal(started.started_at, '2024-01-01T12:00:03Z');
  assert.equal(held.held_at, '2024-01-01T12:00:45Z');
  assert.equal(resumed.resumed_at, '2024-01-01T12:00:50Z');
});

test('webhooks with either signature are accepted, and a repeated one is a duplicate', async () => {
  const app = await server.createApp();
  const ring = new Call(8).ring();
  const first = await server.webhook(app, ring, 'jws');
  const again = await server.webhook(app, ring, 'hmac');
  assert.deepEqual([first.duplicate, again.duplicate], [false, true]);
  assert.equal(first.event_id, again.event_id);
});

test('a backend that polls sees each call begin and change', async () => {
  const app = await server.createApp();
  const callTracker = new Map();
  const seen = [];

  async function pollForCalls() {
    const response = await fetch(`${server.url}/api/calls/active`, {
      headers: { 'x-api-key': app.api_key, 'Content-Type': 'application/json' },
    });
    const activeCalls = await response.json();
    activeCalls.forEach((call) => {
      const lastSeen = callTracker.get(call.id);
      if (!lastSeen) seen.push(['new', call.direction, call.from_number, call.to_number]);
      else if (call.status !== lastSeen.status) seen.push([lastSeen.status, call.status]);
      callTracker.set(call.id, call);
    });
    return activeCalls;
  }

  const call = new Call(9);
  for (const [webhook, status] of [
    [call.ring(), 'ringing'],
    [call.started(), 'active'],
    [call.held(), 'held'],
  ]) {
    await server.webhook(app, webhook);
    await eventually(`the call is ${status}`, async () => (await pollForCalls()).some((call) => call.status === status));
  }
  await server.webhook(app, call.ended());
  await eventually('no call is active', async () => (await pollForCalls()).length === 0);
  assert.deepEqual(seen, [
    ['new', 'inbound', CALLER, CALLED],
    ['ringing', 'active'],
    ['active', 'held'],
  ]);
});

test('a backend that listens and polls finds the calls that it missed', async () => {
  const app = await server.createApp();
  // Rings before the backend is connected.
  await server.webhook(app, new Call(10).ring());
  const known = [];
  const getCall = async (id) => (await server.get(app, `/api/calls/${id}`)).json();
  await eventually('the call is stored', async () => (await getCall(10)).status === 'ringing');

  const opened = open(`${server.wsUrl}/ws`, { headers: { 'x-api-key': app.api_key } });
  opened.ws.on('message', async (data) => {
    const event = JSON.parse(data);
    if (event.type === 'call.ring') known.push(await getCall(event.call_id));
  });
  await connected(opened);
  await server.webhook(app, new Call(11).ring());
  await eventually('the second call is known', () => known.length > 0);

  const apiCalls = await (await server.get(app, '/api/calls/active')).json();
  const missed = apiCalls.filter((call) => !known.find((c) => c.id === call.id));
  opened.ws.close();
  assert.deepEqual(
    missed.map((call) => call.call_id),
    [10],
  );
});

test('ids=string returns ids beyond 2^53 as strings', async () => {
  const app = await server.createApp();
  const opened = open(`${server.wsUrl}/ws?ids=string`, { headers: { 'x-api-key': app.api_key } });
  await connected(opened);
  await server.webhook(app, new Call('9223372036854775807').ring());
  const [ring] = await events(opened, 1);
  opened.ws.close();
  assert.equal(ring.call_id, '9223372036854775807');
});
