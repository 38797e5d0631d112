// A feed against a server that says exactly what the test wants, connection after connection.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import WebSocket from 'ws';

import { Feed as AnyFeed } from '../dist/feed.js';
import { Feed, MemoryCursor, Stopped } from '../dist/node.js';
import { browserTransport } from '../dist/transport-browser.js';
import { connected, options, play, ring, seqs, take } from '../support/play.js';

test('a broken connection is resumed behind the last event', async (t) => {
  const { url, asked, keys } = await play(t, [
    { say: [connected(4), ring(5)] },
    { say: [connected(6), ring(6)], close: 1001 },
    { say: [connected(6), { type: 'reconnect', after_ms: 1 }] },
    { say: [connected(7), ring(7)], stay: true },
  ]);
  assert.deepEqual(seqs(await take(new Feed(options(url)), 3)), [5, 6, 7]);
  assert.deepEqual(asked, ['/ws', '/ws?after=5', '/ws?after=6', '/ws?after=6']);
  assert.deepEqual([...new Set(keys)], ['raw_key']);
});

test('a connection that breaks before the first event is resumed where it began', async (t) => {
  const { url, asked } = await play(t, [{ say: [connected(4)] }, { say: [connected(5), ring(5)], stay: true }]);
  await take(new Feed(options(url)), 1);
  assert.deepEqual(asked, ['/ws', '/ws?after=4']);
});

test('what is told again is heard once', async (t) => {
  const { url } = await play(t, [
    { say: [connected(4), ring(5), ring(6)] },
    { say: [connected(7), ring(5), ring(6), ring(7)], stay: true },
  ]);
  assert.deepEqual(seqs(await take(new Feed(options(url)), 3)), [5, 6, 7]);
});

test('the cursor is what was done and not what was heard', async (t) => {
  const cursor = new MemoryCursor();
  const first = await play(t, [{ say: [connected(4), ring(5), ring(6)], stay: true }]);
  const feed = new Feed(options(first.url, { cursor }));
  for await (const item of feed) {
    if (item.seq === 6) break;
    await feed.done(item);
  }
  assert.equal(await cursor.load(), 5);
  const second = await play(t, [{ say: [connected(6), ring(6)], stay: true }]);
  assert.deepEqual(seqs(await take(new Feed(options(second.url, { cursor })), 1)), [6]);
  assert.deepEqual(second.asked, ['/ws?after=5']);
});

test('a callback is asked for one event after the other, and what it has ended is done', async (t) => {
  const cursor = new MemoryCursor();
  const say = [connected(0), ring(1), ring(2), { type: 'cursor', seq: 9 }, ring(10)];
  const { url } = await play(t, [{ say, stay: true }]);
  const feed = new Feed(options(url, { cursor }));
  const heard = [];
  let busy = false;
  await feed.each(async (item) => {
    assert.ok(!busy, 'two at once');
    busy = true;
    await new Promise((resolve) => setImmediate(resolve));
    busy = false;
    heard.push(item.seq);
    if (item.seq === 10) void feed.close();
  });
  assert.deepEqual(heard, [1, 2, 10]);
  assert.equal(await cursor.load(), 10);
});

test('what a consumer has done is acknowledged, and again where that was lost', async (t) => {
  const greeting = { ...connected(9), consumer: 'crm', mode: 'exclusive', acked_seq: 4 };
  const { url, asked, acks } = await play(t, [
    { say: [greeting, ring(5), ring(6)], hear: 6 },
    // This server has heard of nothing.
    { say: [greeting, ring(5), ring(6), ring(7)], stay: true, hear: 7 },
  ]);
  const heard = [];
  const feed = new Feed(options(url, { consumer: 'crm', after: 0 }));
  await feed.each((item) => {
    heard.push(item.seq);
    if (item.seq === 7) setImmediate(() => feed.close());
  });
  assert.deepEqual(heard, [5, 6, 7]);
  assert.deepEqual(asked, ['/ws?consumer=crm&after=0', '/ws?consumer=crm&after=6']);
  assert.deepEqual([acks[acks.indexOf(6) + 1], acks.at(-1)], [6, 7]);
});

test('a consumer that was taken over does not fight', { timeout: 30_000 }, async (t) => {
  const greeting = { ...connected(4), consumer: 'crm', mode: 'exclusive', acked_seq: 4 };
  const { url, asked } = await play(t, [{ say: [greeting, ring(5), ring(6)], close: 4409 }]);
  let feed;
  const notice = await new Promise((resolve) => {
    const onNotice = (notice) => notice.type === 'taken_over' && resolve(notice);
    feed = new Feed(options(url, { consumer: 'crm', onNotice }));
  });
  assert.match(notice.reason, /because/);
  // The events that had come are the newer one's.
  await assert.rejects(take(feed, 1), (error) => error instanceof Stopped && error.isTakenOver);
  assert.equal(asked.length, 1);
});

test('of a shared consumer each event is heard once, in the order in which it was given', async (t) => {
  const greeting = { ...connected(60), consumer: 'crm', mode: 'share', acked_seq: 0 };
  const { url, asked, acks } = await play(t, [
    { say: [greeting, ring(50), ring(7)], hear: 50 },
    { say: [greeting, ring(7), ring(50), ring(3)], stay: true, hear: 3 },
  ]);
  const heard = [];
  const feed = new Feed(options(url, { consumer: 'crm', share: true }));
  for await (const item of feed) {
    heard.push(item.seq);
    if (item.seq !== 7) await feed.done(item);
    if (item.seq === 3) break;
  }
  assert.deepEqual(heard, [50, 7, 3]);
  assert.deepEqual(asked, ['/ws?consumer=crm&mode=share', '/ws?consumer=crm&mode=share']);
  assert.ok(!acks.slice(0, -1).includes(7) && acks.at(-1) === 3, `${acks}`);
});

test('a gap is reported and the feed goes on behind it', async (t) => {
  const gap = { type: 'gap', reason: 'expired', from_seq: 3, to_seq: 8, oldest_seq: 9, seq: 20 };
  const { url, asked } = await play(t, [{ say: [connected(20), gap] }, { say: [connected(20), ring(9)], stay: true }]);
  const items = await take(new Feed(options(url, { after: 2 })), 2);
  assert.deepEqual([items[0], items[1].seq], [gap, 9]);
  assert.deepEqual(asked, ['/ws?after=2', '/ws?after=8']);
});

test('a replaced key ends the feed', async (t) => {
  const { url } = await play(t, [{ say: [connected(0), ring(1)], close: 4403 }]);
  const heard = [];
  const ended = new Feed(options(url)).each((item) => void heard.push(item.seq));
  await assert.rejects(ended, (error) => error instanceof Stopped && error.code === 4403 && error.isForbidden);
  assert.deepEqual(heard, [1]);
});

test('a wrong key ends the feed, and a busy server does not', async (t) => {
  const wrong = '{"error":"Invalid API key","code":"INVALID_API_KEY"}';
  const { url, asked } = await play(t, [{ refuse: [503, '{}'] }, { refuse: [401, wrong] }]);
  const notices = [];
  const feed = new Feed(options(url, { onNotice: (notice) => notices.push(notice) }));
  await assert.rejects(take(feed, 1), /the server answers 401: Invalid API key/);
  assert.equal(asked.length, 2);
  assert.match(notices[0].reason, /503/);
  assert.ok(!JSON.stringify(notices).includes('raw_key'));
});

test('a server that says how long to wait is waited for', async (t) => {
  const { url } = await play(t, [{ refuse: [429, '{}', 'retry-after: 7\r\n'] }]);
  let feed;
  const notice = await new Promise((resolve) => (feed = new Feed(options(url, { onNotice: resolve }))));
  assert.equal(notice.backInMs, 7000);
  await feed.close();
});

test('what is no message breaks the connection and not the feed', async (t) => {
  const { url, asked } = await play(t, [
    { say: [connected(0), ring(1), '<html>', ring(2)], stay: true },
    { say: [connected(2), ring(2)], stay: true },
  ]);
  assert.deepEqual(seqs(await take(new Feed(options(url)), 2)), [1, 2]);
  assert.deepEqual(asked, ['/ws', '/ws?after=1']);
});

test('many events wait for a slow reader, and none is lost', async (t) => {
  const say = [connected(0), ...Array.from({ length: 2_000 }, (_, index) => ring(index + 1))];
  const { url } = await play(t, [{ say, stay: true }]);
  const heard = [];
  const feed = new Feed(options(url));
  for await (const item of feed) {
    // Slower than the server for as long as there is more than can wait.
    if (heard.length < 600) await new Promise((resolve) => setImmediate(resolve));
    heard.push(item.seq);
    if (item.seq === 2_000) break;
  }
  assert.deepEqual(
    heard,
    say.slice(1).map(({ seq }) => seq),
  );
});

test('a cursor that can not be read ends the feed', async (t) => {
  const { url, asked } = await play(t, []);
  const cursor = { load: () => Promise.reject(new Error('the disk is gone')), save: async () => {} };
  await assert.rejects(take(new Feed(options(url, { cursor })), 1), /the disk is gone/);
  assert.deepEqual(asked, []);
});

test('in a browser the key goes in the first message', async (t) => {
  // What browsers have, on a Node that may not have it.
  globalThis.WebSocket = WebSocket;
  const { url, asked, keys } = await play(t, [{ keyComes: true, say: [connected(0), ring(1)], stay: true }]);
  assert.deepEqual(seqs(await take(new AnyFeed(options(url), browserTransport), 1)), [1]);
  assert.deepEqual([asked, keys], [['/ws'], ['raw_key']]);
});

test('a browser that can not pause ends the connection and loses nothing', async (t) => {
  globalThis.WebSocket = WebSocket;
  const heard = [];
  const say = (asked) => {
    const after = Number(new URL(asked, 'ws://server').searchParams.get('after') ?? 0);
    assert.ok(after - heard.length <= 256, `${after - heard.length} events wait`);
    return [connected(2_000), ...Array.from({ length: 2_000 - after }, (_, index) => ring(after + index + 1))];
  };
  const connections = Array.from({ length: 40 }, () => ({ keyComes: true, say, stay: true }));
  const { url, asked } = await play(t, connections);
  const notices = [];
  const feed = new AnyFeed(options(url, { after: 0, onNotice: (notice) => notices.push(notice) }), browserTransport);
  for await (const item of feed) {
    // Slower than the server.
    if (heard.length % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    heard.push(item.seq);
    if (item.seq === 2_000) break;
  }
  assert.deepEqual(
    heard,
    Array.from({ length: 2_000 }, (_, index) => index + 1),
  );
  assert.equal(asked[1], '/ws?after=256');
  assert.ok(asked.length <= 17, `${asked.length} connections`);
  assert.equal(notices[1].reason, 'too many events wait to be taken');
});
