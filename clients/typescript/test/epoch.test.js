// Feeds whose server was restored: the numbers of the events are those of another epoch.

import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { Feed, FileCursor, MemoryCursor } from '../dist/node.js';
import { Tracker } from '../dist/tracker.js';
import { connectedIn, options, ring, scriptedServer, seqs, take } from '../support/scripted-server.js';

const OLD = '018cc4e0-7d2b-4c55-9f21-6a7b8c9d0e1f';
const NEW = '018cc4e0-7d2b-4c55-9f21-6a7b8c9d0e20';

/** The gap of a feed that continues in another epoch after `at`. */
const gap = (at) => ({ type: 'gap', reason: 'epoch_changed', epoch: NEW, from_seq: 1, to_seq: at, oldest_seq: 1, seq: at });
const change = (at) => ({ ...gap(at), type: 'epoch_changed' });

test('the epoch is kept with the cursor, and named when the feed resumes', { timeout: 30_000 }, async (t) => {
  const cursor = new MemoryCursor();
  const { url, requests } = await scriptedServer(t, [
    { send: [connectedIn(OLD, 4), ring(5)] },
    { send: [connectedIn(OLD, 6), ring(6)], stay: true },
  ]);
  const feed = new Feed(options(url, { cursor }));
  for await (const item of feed) {
    await feed.ack(item);
    if (item.seq === 6) break;
  }
  assert.deepEqual(await cursor.load(), { epoch: OLD, seq: 6 });
  assert.deepEqual(requests, ['/ws', `/ws?after=${OLD}%3A5`]);
});

test('a restored server is reported, and the feed continues in the new epoch', { timeout: 30_000 }, async (t) => {
  const cursor = new MemoryCursor();
  await cursor.save({ epoch: OLD, seq: 30 });
  const { url, requests } = await scriptedServer(t, [
    { send: [connectedIn(NEW, 20), gap(20)] },
    { send: [connectedIn(NEW, 21), ring(21)], stay: true },
  ]);
  const feed = new Feed(options(url, { cursor }));
  const items = [];
  for await (const item of feed) {
    items.push(item);
    if (item.seq === 21) break;
    assert.deepEqual(await cursor.load(), { epoch: OLD, seq: 30 }, 'it is not processed yet');
    await feed.ack(item);
    assert.deepEqual(await cursor.load(), { epoch: NEW, seq: 20 });
  }
  assert.deepEqual([items[0], items[1].seq], [change(20), 21]);
  assert.deepEqual(requests, [`/ws?after=${OLD}%3A30`, `/ws?after=${NEW}%3A20`]);
});

test('a feed that goes back while it is open delivers the same numbers again', { timeout: 30_000 }, async (t) => {
  const send = [connectedIn(OLD, 4), ring(5), ring(6), gap(4), ring(5)];
  const { url } = await scriptedServer(t, [{ send, stay: true }]);
  const items = await take(new Feed(options(url)), 4);
  assert.deepEqual([seqs(items.slice(0, 2)), items[2], items[3].seq], [[5, 6], change(4), 5]);
});

test('what is acknowledged before the change is received is of the earlier epoch', () => {
  const tracker = new Tracker(false);
  tracker.connected(null, OLD, 9, null, true);
  assert.ok(tracker.deliver(10) && tracker.deliver(11));
  tracker.changeEpoch(NEW, 4);
  for (let seq = 5; seq <= 12; seq += 1) assert.ok(tracker.deliver(seq));
  tracker.ack(10);
  assert.equal(tracker.acked, null);
  tracker.changeTaken();
  tracker.ack(5);
  assert.deepEqual(tracker.acked, { epoch: NEW, seq: 5 });
});

test('numbers that come again in another epoch are delivered to a shared consumer', () => {
  const tracker = new Tracker(true);
  tracker.connected(null, OLD, 9, 7, true);
  assert.ok(tracker.deliver(8) && !tracker.deliver(8));
  tracker.changeEpoch(NEW, 7);
  assert.ok(tracker.deliver(8));
});

test('an acknowledgement of another epoch is not sent again', { timeout: 30_000 }, async (t) => {
  const greeting = (epoch, acked) => ({ ...connectedIn(epoch, 9), consumer: 'crm', mode: 'exclusive', acked_seq: acked });
  const { url, acks } = await scriptedServer(t, [
    { send: [greeting(OLD, 4), ring(5), ring(6)], receive: 6 },
    { send: [greeting(NEW, 3), gap(3), ring(4)], stay: true, receive: 4 },
  ]);
  const received = [];
  const feed = new Feed(options(url, { consumer: 'crm' }));
  await feed.each((item) => {
    received.push(item.type === 'epoch_changed' ? 'changed' : item.seq);
    if (item.seq === 4) setImmediate(() => feed.close());
  });
  assert.deepEqual(received, [5, 6, 'changed', 4]);
  assert.ok(!acks.slice(acks.indexOf(6) + 1).includes(6), `${acks}`);
});

test('a file keeps the cursor with its epoch, and one without it is read', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'cti-ts-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'crm.cursor');
  const cursor = new FileCursor(path);
  assert.equal(await cursor.load(), null);
  await writeFile(path, '41\n');
  assert.deepEqual(await cursor.load(), { epoch: null, seq: 41 });
  await cursor.save({ epoch: OLD, seq: 42 });
  assert.equal(await readFile(path, 'utf8'), `${OLD}:42\n`);
  assert.deepEqual(await cursor.load(), { epoch: OLD, seq: 42 });
  assert.deepEqual(await readdir(folder), ['crm.cursor']);
  for (const text of ['', ':41', 'epoch:41', `${OLD}:`, '4x1']) {
    await writeFile(path, text);
    await assert.rejects(cursor.load(), /crm.cursor holds no cursor/, text);
  }
});
