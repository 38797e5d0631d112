// The real server, killed under load and started again: nothing is lost, and nothing comes twice.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { Call } from '../../../tests/clients/node/support/call.js';
import { eventually } from '../../../tests/clients/node/support/eventually.js';
import { Server, given } from '../../../tests/clients/node/support/server.js';
import { Feed, FileCursor, MemoryCursor, Stopped } from '../dist/node.js';

const SENDERS = 12;
const KILL_AFTER = [80, 200, 50];
const LIFE = ['call.ring', 'call.started', 'call.held', 'call.resumed', 'call.ended'];

/** Sends call after call, each webhook until it is acknowledged, until it is told that it is enough. */
class Load {
  acknowledged = 0;
  calls = 0;
  #enough = false;

  constructor(server, app) {
    this.server = server;
    this.app = app;
    this.senders = Promise.all(Array.from({ length: SENDERS }, () => this.#send()));
  }

  async #send() {
    while (!this.#enough) {
      this.calls += 1;
      for (const webhook of new Call(this.calls).life()) {
        // As patient as Dialpad: a server that is gone comes back.
        while (!(await this.#isTaken(webhook))) await new Promise((resolve) => setTimeout(resolve, 20));
        this.acknowledged += 1;
      }
    }
  }

  #isTaken(webhook) {
    return this.server.webhook(this.app, webhook).then(
      () => true,
      () => false,
    );
  }

  async stop() {
    this.#enough = true;
    await this.senders;
  }
}

test('a client misses nothing and hears nothing twice', { skip: given, timeout: 120_000 }, async (t) => {
  await followThroughKills(t, (folder) => {
    const cursor = new FileCursor(join(folder, 'crm.cursor'));
    return { options: { cursor }, stands: () => cursor.load() };
  });
});

test('nor does a named consumer', { skip: given, timeout: 120_000 }, async (t) => {
  await followThroughKills(t, (_, server, app) => ({
    options: { consumer: 'crm' },
    stands: async () => {
      const consumer = await fetch(`${server.url}/api/consumers/crm`, { headers: { 'x-api-key': app.api_key } });
      return (await consumer.json()).acked_seq;
    },
  }));
});

/** `keeper` says who keeps the cursor, and where it stands. */
async function followThroughKills(t, keeper) {
  const server = await Server.start();
  const folder = await mkdtemp(join(tmpdir(), 'cti-ts-'));
  t.after(async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });
  const app = await server.createApp();
  const heard = [];
  const interruptions = [];
  const { options, stands } = keeper(folder, server, app);
  const follow = (beginning) => {
    const feed = new Feed({
      url: server.url,
      apiKey: app.api_key,
      ...options,
      pace: { baseMs: 50, capMs: 500 },
      onNotice: (notice) => notice.type === 'interrupted' && interruptions.push(notice.reason),
      ...beginning,
    });
    return { feed, ended: feed.each((item) => void heard.push(item)) };
  };

  let following = follow({ after: 0 });
  const load = new Load(server, app);
  for (const [round, killAfter] of KILL_AFTER.entries()) {
    const until = load.acknowledged + killAfter;
    await eventually(`${killAfter} webhooks are acknowledged`, () => load.acknowledged >= until);
    await server.kill();
    if (round === 1) {
      // The CRM itself ends and begins anew, too. Where the server keeps the cursor, it must have heard of it.
      await server.restart();
      const last = heard.at(-1).seq;
      await eventually('the cursor is kept', async () => (await stands()) >= last);
      await following.feed.close();
      await following.ended;
      following = follow({});
    } else {
      await server.restart();
    }
  }
  await load.stop();
  const told = load.calls * LIFE.length;
  await eventually(`all ${told} events are heard`, () => heard.length >= told);
  await following.feed.close();
  await following.ended;

  assert.deepEqual(
    heard.map(({ seq }) => seq),
    Array.from({ length: told }, (_, index) => index + 1),
  );
  assert.equal(new Set(heard.map(({ event_id }) => event_id)).size, told);
  assert.ok(interruptions.length >= 2, `${interruptions}`);
  await eventually('the cursor is kept', async () => (await stands()) === told);
  for (let call = 1; call <= load.calls; call += 1) {
    const types = heard.filter(({ call_id }) => call_id === String(call)).map(({ type }) => type);
    assert.deepEqual(types, LIFE, `call ${call}`);
  }
}

test('types are asked of the server, and a replaced key ends the feed', async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const app = await server.createApp();
  const feed = new Feed({ url: server.url, apiKey: app.api_key, after: 0, types: ['call.ended'] });
  await server.webhooks(app, new Call(7).life());
  const heard = [];
  const ended = feed.each(async (item) => {
    heard.push(item);
    await server.internal('POST', `/internal/apps/${app.app_id}/api-key`);
  });
  await assert.rejects(ended, (error) => error instanceof Stopped && error.isForbidden);
  const [end] = heard;
  assert.deepEqual([heard.length, end.type, end.call_id, end.talk_seconds], [1, 'call.ended', '7', 172]);
});

/** The active calls, and how they are, after these events. */
function activeAfter(events) {
  const active = new Map();
  for (const { call_id: id, status } of events) {
    if (status === 'ended') active.delete(id);
    else active.set(id, status);
  }
  return active;
}

test('a CRM begins with the calls of now and goes on behind them', { skip: given, timeout: 120_000 }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const app = await server.createApp();
  const cursor = new MemoryCursor();
  const [snapshots, heard, resumed] = [[], [], []];
  const follow = () => {
    const onNotice = ({ type, after }) => type === 'connected' && resumed.push(after);
    const pace = { baseMs: 50, capMs: 500 };
    const feed = new Feed({ url: server.url, apiKey: app.api_key, snapshot: true, cursor, pace, onNotice });
    return { feed, ended: feed.each((item) => void (item.type === 'snapshot' ? snapshots : heard).push(item)) };
  };

  // Live before anybody listens, and for longer than the server.
  const life = new Call(1_000_000).life();
  await server.webhooks(app, life.slice(0, 2));
  const load = new Load(server, app);
  await eventually('the load is under way', () => load.acknowledged >= 60);
  let following = follow();
  await eventually('events follow the snapshot', () => heard.length >= 60);
  await server.kill();
  await server.restart();
  await eventually('the load goes on', () => load.acknowledged >= 250);
  await load.stop();
  await server.webhooks(app, life.slice(2));
  const total = load.calls * LIFE.length + life.length;
  await eventually('everything is heard', () => heard.at(-1).seq >= total);
  await following.feed.close();
  await following.ended;

  assert.equal(snapshots.length, 1);
  const [{ seq, calls }] = snapshots;
  const told = await feedOf(server, app);
  assert.deepEqual(new Map(calls.map(({ call_id: id, status }) => [id, status])), activeAfter(told.slice(0, seq)));
  assert.deepEqual([calls[0].call_id, calls[0].dialpad_user_id, calls[0].status], ['1000000', '555', 'active']);
  assert.ok(calls.length > 1 && seq < total, `${calls.length} calls as of ${seq}`);
  assert.deepEqual(heard, told.slice(seq));
  const rest = heard.filter(({ call_id: id }) => id === '1000000').map(({ type }) => type);
  assert.deepEqual(rest, ['call.held', 'call.resumed', 'call.ended']);
  assert.ok(resumed.length >= 2 && resumed[0] === null && !resumed.slice(1).includes(null), `${resumed}`);

  // The next process goes on where this one was.
  following = follow();
  await server.webhook(app, new Call(2_000_000).ring());
  await eventually('the call is told', () => heard.at(-1).seq === total + 1);
  await following.feed.close();
  await following.ended;
  assert.deepEqual([snapshots.length, resumed.at(-1)], [1, total]);
});

/** Everything that was told. */
async function feedOf(server, app) {
  const events = [];
  for (;;) {
    const page = await server.get(app, `/api/events?ids=string&limit=1000&after=${events.length}`);
    const more = await page.json();
    if (more.length === 0) return events;
    events.push(...more);
  }
}
