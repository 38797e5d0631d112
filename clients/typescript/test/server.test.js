// The real server, killed under load and restarted: no event is lost, and none comes twice.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { Call } from '../../../tests/clients/node/support/call.js';
import { eventually } from '../../../tests/clients/node/support/eventually.js';
import { Server, skipIfExternal } from '../../../tests/clients/node/support/server.js';
import { Feed, FileCursor, MemoryCursor, FeedError } from '../dist/node.js';

const SENDERS = 12;
const KILL_AFTER = [80, 200, 50];
const LIFE = ['call.ring', 'call.started', 'call.held', 'call.resumed', 'call.ended'];

/** Sends call after call, each webhook until it is acknowledged, until it is stopped. */
class Load {
  acknowledged = 0;
  calls = 0;
  #stopped = false;

  constructor(server, app) {
    this.server = server;
    this.app = app;
    this.senders = Promise.all(Array.from({ length: SENDERS }, () => this.#send()));
  }

  async #send() {
    while (!this.#stopped) {
      this.calls += 1;
      for (const webhook of new Call(this.calls).life()) {
        // Retries like Dialpad: a killed server is restarted.
        while (!(await this.#isAcknowledged(webhook))) await new Promise((resolve) => setTimeout(resolve, 20));
        this.acknowledged += 1;
      }
    }
  }

  #isAcknowledged(webhook) {
    return this.server.webhook(this.app, webhook).then(
      () => true,
      () => false,
    );
  }

  async stop() {
    this.#stopped = true;
    await this.senders;
  }
}

test('a client misses no event and receives none twice', { skip: skipIfExternal, timeout: 120_000 }, async (t) => {
  await followThroughKills(t, (folder) => {
    const cursor = new FileCursor(join(folder, 'crm.cursor'));
    return { options: { cursor }, savedCursor: async () => (await cursor.load())?.seq };
  });
});

test('a named consumer misses no event and receives none twice', { skip: skipIfExternal, timeout: 120_000 }, async (t) => {
  await followThroughKills(t, (_, server, app) => ({
    options: { consumer: 'crm' },
    savedCursor: async () => {
      const consumer = await fetch(`${server.url}/api/consumers/crm`, { headers: { 'x-api-key': app.api_key } });
      return (await consumer.json()).acked_seq;
    },
  }));
});

/** `cursorOptions` returns the feed's options for the cursor, and a function that reads the saved one. */
async function followThroughKills(t, cursorOptions) {
  const server = await Server.start();
  const folder = await mkdtemp(join(tmpdir(), 'cti-ts-'));
  t.after(async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });
  const app = await server.createApp();
  const received = [];
  const disconnections = [];
  const { options, savedCursor } = cursorOptions(folder, server, app);
  const follow = (start) => {
    const feed = new Feed({
      url: server.url,
      apiKey: app.api_key,
      ...options,
      backoff: { initialMs: 50, maxMs: 500 },
      onNotice: (notice) => notice.type === 'disconnected' && disconnections.push(notice.reason),
      ...start,
    });
    return { feed, ended: feed.each((item) => void received.push(item)) };
  };

  let following = follow({ after: 0 });
  const load = new Load(server, app);
  for (const [round, killAfter] of KILL_AFTER.entries()) {
    const until = load.acknowledged + killAfter;
    await eventually(`${killAfter} webhooks are acknowledged`, () => load.acknowledged >= until);
    await server.kill();
    if (round === 1) {
      // The CRM is restarted, too. Before that, the cursor must be saved, or acknowledged on the server.
      await server.restart();
      const last = received.at(-1).seq;
      await eventually('the cursor is saved', async () => (await savedCursor()) >= last);
      await following.feed.close();
      await following.ended;
      following = follow({});
    } else {
      await server.restart();
    }
  }
  await load.stop();
  const total = load.calls * LIFE.length;
  await eventually(`all ${total} events are received`, () => received.length >= total);
  await following.feed.close();
  await following.ended;

  assert.deepEqual(
    received.map(({ seq }) => seq),
    Array.from({ length: total }, (_, index) => index + 1),
  );
  assert.equal(new Set(received.map(({ event_id }) => event_id)).size, total);
  assert.ok(disconnections.length >= 2, `${disconnections}`);
  await eventually('the cursor is saved', async () => (await savedCursor()) === total);
  for (let call = 1; call <= load.calls; call += 1) {
    const types = received.filter(({ call_id }) => call_id === String(call)).map(({ type }) => type);
    assert.deepEqual(types, LIFE, `call ${call}`);
  }
}

test('the server filters types, and a replaced key ends the feed', async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const app = await server.createApp();
  const feed = new Feed({ url: server.url, apiKey: app.api_key, after: 0, types: ['call.ended'] });
  await server.webhooks(app, new Call(7).life());
  const received = [];
  const ended = feed.each(async (item) => {
    received.push(item);
    await server.internal('POST', `/internal/apps/${app.app_id}/api-key`);
  });
  await assert.rejects(ended, (error) => error instanceof FeedError && error.isForbidden);
  const [end] = received;
  assert.deepEqual([received.length, end.type, end.call_id, end.talk_seconds], [1, 'call.ended', '7', 172]);
});

/** Returns the active calls and their status after these events. */
function activeAfter(events) {
  const active = new Map();
  for (const { call_id: id, status } of events) {
    if (status === 'ended') active.delete(id);
    else active.set(id, status);
  }
  return active;
}

test('a CRM starts with the active calls and continues after them', { skip: skipIfExternal, timeout: 120_000 }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const app = await server.createApp();
  const cursor = new MemoryCursor();
  const [snapshots, received, resumed] = [[], [], []];
  const follow = () => {
    const onNotice = ({ type, after }) => type === 'connected' && resumed.push(after);
    const backoff = { initialMs: 50, maxMs: 500 };
    const feed = new Feed({ url: server.url, apiKey: app.api_key, snapshot: true, cursor, backoff, onNotice });
    return { feed, ended: feed.each((item) => void (item.type === 'snapshot' ? snapshots : received).push(item)) };
  };

  // A call that starts before the client and lasts longer than the server.
  const life = new Call(1_000_000).life();
  await server.webhooks(app, life.slice(0, 2));
  const load = new Load(server, app);
  await eventually('the load has started', () => load.acknowledged >= 60);
  let following = follow();
  await eventually('events follow the snapshot', () => received.length >= 60);
  await server.kill();
  await server.restart();
  await eventually('the load continues', () => load.acknowledged >= 250);
  await load.stop();
  await server.webhooks(app, life.slice(2));
  const total = load.calls * LIFE.length + life.length;
  await eventually('all events are received', () => received.at(-1).seq >= total);
  await following.feed.close();
  await following.ended;

  assert.equal(snapshots.length, 1);
  const [{ seq, calls }] = snapshots;
  const emitted = await feedOf(server, app);
  assert.deepEqual(new Map(calls.map(({ call_id: id, status }) => [id, status])), activeAfter(emitted.slice(0, seq)));
  assert.deepEqual([calls[0].call_id, calls[0].dialpad_user_id, calls[0].status], ['1000000', '555', 'active']);
  assert.ok(calls.length > 1 && seq < total, `${calls.length} calls as of ${seq}`);
  assert.deepEqual(received, emitted.slice(seq));
  const rest = received.filter(({ call_id: id }) => id === '1000000').map(({ type }) => type);
  assert.deepEqual(rest, ['call.held', 'call.resumed', 'call.ended']);
  assert.ok(resumed.length >= 2 && resumed[0] === null && !resumed.slice(1).includes(null), `${resumed}`);

  // The next process resumes after the last event.
  following = follow();
  await server.webhook(app, new Call(2_000_000).ring());
  await eventually('the call is received', () => received.at(-1).seq === total + 1);
  await following.feed.close();
  await following.ended;
  assert.deepEqual([snapshots.length, resumed.at(-1)], [1, total]);
});

/** Returns all events of the feed. */
async function feedOf(server, app) {
  const events = [];
  for (;;) {
    const page = await server.get(app, `/api/events?ids=string&limit=1000&after=${events.length}`);
    const more = await page.json();
    if (more.length === 0) return events;
    events.push(...more);
  }
}
