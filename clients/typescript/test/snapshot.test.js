// Feeds that start with a snapshot of the active calls.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Feed, MemoryCursor } from '../dist/node.js';
import { connected, options, scriptedServer, ring, seqs, take } from '../support/scripted-server.js';

const call = (id) => ({ id: '018c', call_id: id, dialpad_call_id: id, status: 'active' });
const part = (seq, ids, complete) => ({ type: 'snapshot', seq, calls: ids.map(call), complete });
const whole = (seq, ids) => ({ type: 'snapshot', seq, calls: ids.map(call) });

const FIRST_REQUEST = '/ws?snapshot=true';

test('the snapshot is complete, and the events after it follow', { timeout: 30_000 }, async (t) => {
  const { url, requests } = await scriptedServer(t, [
    { send: [connected(41), part(41, ['1', '2'], false), part(41, ['3'], true), ring(42)] },
    { send: [connected(43), ring(42), ring(43)], stay: true },
  ]);
  const [snapshot, ...events] = await take(new Feed(options(url, { snapshot: true })), 3);
  assert.deepEqual(snapshot, whole(41, ['1', '2', '3']));
  assert.deepEqual(seqs(events), [42, 43]);
  assert.deepEqual(requests, [FIRST_REQUEST, '/ws?after=42']);
});

test('an incomplete snapshot is requested again, and not delivered', { timeout: 30_000 }, async (t) => {
  const { url, requests } = await scriptedServer(t, [
    { send: [connected(41)] },
    { send: [connected(41), part(41, ['1', '2'], false)] },
    { send: [connected(50), part(50, ['2', '9'], true)] },
    { send: [connected(51), ring(51)], stay: true },
  ]);
  const [snapshot, event] = await take(new Feed(options(url, { snapshot: true })), 2);
  assert.deepEqual([snapshot, event.seq], [whole(50, ['2', '9']), 51]);
  assert.deepEqual(requests, [FIRST_REQUEST, FIRST_REQUEST, FIRST_REQUEST, '/ws?after=50']);
});

test('the next process gets no snapshot once it was acknowledged', { timeout: 30_000 }, async (t) => {
  const cursor = new MemoryCursor();
  const start = async (more = {}) => {
    const { url, requests } = await scriptedServer(t, [{ send: [connected(1), part(1, [], true)], stay: true }]);
    return { requests, feed: new Feed(options(url, { snapshot: true, cursor, ...more })) };
  };
  const first = await start();
  assert.deepEqual(await take(first.feed, 1), [whole(1, [])]);
  assert.equal(await cursor.load(), null, 'it is not acknowledged');
  const second = await start();
  for await (const item of second.feed) {
    await second.feed.ack(item);
    break;
  }
  assert.deepEqual([second.requests, await cursor.load()], [[FIRST_REQUEST], { epoch: null, seq: 1 }]);
  const third = await scriptedServer(t, [{ send: [connected(2), ring(2)], stay: true }]);
  assert.deepEqual(seqs(await take(new Feed(options(third.url, { snapshot: true, cursor })), 1)), [2]);
  assert.deepEqual(third.requests, ['/ws?after=1']);
  // `after: 'now'` ignores the cursor.
  const fourth = await start({ after: 'now' });
  assert.deepEqual(await take(fourth.feed, 1), [whole(1, [])]);
});

test('an expired cursor is a gap without a snapshot', { timeout: 30_000 }, async (t) => {
  const cursor = new MemoryCursor();
  await cursor.save({ epoch: null, seq: 2 });
  const gap = { type: 'gap', reason: 'expired', from_seq: 3, to_seq: 8, oldest_seq: 9, seq: 20 };
  const { url, requests } = await scriptedServer(t, [{ send: [connected(20), gap, ring(9)], stay: true }]);
  const items = await take(new Feed(options(url, { snapshot: true, cursor })), 2);
  assert.deepEqual([items[0], items[1].seq], [gap, 9]);
  assert.deepEqual(requests, ['/ws?after=2']);
});

test('conflicting options are refused without a request', () => {
  const feed = (more) => () => new Feed(options('http://127.0.0.1:1', more));
  const refused = [
    [{ snapshot: true, after: 0 }, /snapshot.*after/],
    [{ snapshot: true, consumer: 'crm' }, /snapshot.*consumer/],
    [{ snapshot: true, consumer: 'crm', share: true }, /snapshot.*consumer/],
    [{ share: true }, /consumer/],
    ...['after', 'snapshot', 'consumer', 'mode', 'ids'].map((name) => [{ parameters: { [name]: '1' } }, new RegExp(name)]),
  ];
  for (const [more, message] of refused) assert.throws(feed(more), { name: 'TypeError', message });
});
