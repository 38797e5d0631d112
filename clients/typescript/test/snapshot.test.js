// A feed that begins with the calls that are not over.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Feed, MemoryCursor } from '../dist/node.js';
import { connected, options, play, ring, seqs, take } from '../support/play.js';

const call = (id) => ({ id: '018c', call_id: id, dialpad_call_id: id, status: 'active' });
const piece = (seq, ids, complete) => ({ type: 'snapshot', seq, calls: ids.map(call), complete });
const whole = (seq, ids) => ({ type: 'snapshot', seq, calls: ids.map(call) });

const FROM_NOTHING = '/ws?snapshot=true';

test('the calls come whole, and then the events behind them', { timeout: 30_000 }, async (t) => {
  const { url, asked } = await play(t, [
    { say: [connected(41), piece(41, ['1', '2'], false), piece(41, ['3'], true), ring(42)] },
    { say: [connected(43), ring(42), ring(43)], stay: true },
  ]);
  const [snapshot, ...events] = await take(new Feed(options(url, { snapshot: true })), 3);
  assert.deepEqual(snapshot, whole(41, ['1', '2', '3']));
  assert.deepEqual(seqs(events), [42, 43]);
  assert.deepEqual(asked, [FROM_NOTHING, '/ws?after=42']);
});

test('one that breaks off is asked for anew, and nobody sees half of it', { timeout: 30_000 }, async (t) => {
  const { url, asked } = await play(t, [
    { say: [connected(41)] },
    { say: [connected(41), piece(41, ['1', '2'], false)] },
    { say: [connected(50), piece(50, ['2', '9'], true)] },
    { say: [connected(51), ring(51)], stay: true },
  ]);
  const [snapshot, event] = await take(new Feed(options(url, { snapshot: true })), 2);
  assert.deepEqual([snapshot, event.seq], [whole(50, ['2', '9']), 51]);
  assert.deepEqual(asked, [FROM_NOTHING, FROM_NOTHING, FROM_NOTHING, '/ws?after=50']);
});

test('the next process is given none, once it was dealt with', { timeout: 30_000 }, async (t) => {
  const cursor = new MemoryCursor();
  const begin = async (more = {}) => {
    const { url, asked } = await play(t, [{ say: [connected(1), piece(1, [], true)], stay: true }]);
    return { asked, feed: new Feed(options(url, { snapshot: true, cursor, ...more })) };
  };
  const first = await begin();
  assert.deepEqual(await take(first.feed, 1), [whole(1, [])]);
  assert.equal(await cursor.load(), null, 'nobody has said that it is done');
  const second = await begin();
  for await (const item of second.feed) {
    await second.feed.done(item);
    break;
  }
  assert.deepEqual([second.asked, await cursor.load()], [[FROM_NOTHING], 1]);
  const third = await play(t, [{ say: [connected(2), ring(2)], stay: true }]);
  assert.deepEqual(seqs(await take(new Feed(options(third.url, { snapshot: true, cursor })), 1)), [2]);
  assert.deepEqual(third.asked, ['/ws?after=1']);
  // Unless it is to be looked at anew.
  const fourth = await begin({ after: 'now' });
  assert.deepEqual(await take(fourth.feed, 1), [whole(1, [])]);
});

test('a cursor that has expired is a gap and brings no snapshot', { timeout: 30_000 }, async (t) => {
  const cursor = new MemoryCursor();
  await cursor.save(2);
  const gap = { type: 'gap', reason: 'expired', from_seq: 3, to_seq: 8, oldest_seq: 9, seq: 20 };
  const { url, asked } = await play(t, [{ say: [connected(20), gap, ring(9)], stay: true }]);
  const items = await take(new Feed(options(url, { snapshot: true, cursor })), 2);
  assert.deepEqual([items[0], items[1].seq], [gap, 9]);
  assert.deepEqual(asked, ['/ws?after=2']);
});

test('what does not go together is refused before anybody is asked', () => {
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
