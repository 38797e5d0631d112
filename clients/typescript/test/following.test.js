// A feed against a scripted server, connection after connection.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import WebSocket from 'ws';

import { Feed as AnyFeed } from '../dist/feed.js';
import { Feed, MemoryCursor, FeedError } from '../dist/node.js';
import { browserTransport } from '../dist/transport-browser.js';
import { connected, options, scriptedServer, ring, seqs, take } from '../support/scripted-server.js';

test('a broken connection is resumed after the last event', async (t) => {
  const { url, requests, keys } = await scriptedServer(t, [
    { send: [connected(4), ring(5)] },
    { send: [connected(6), ring(6)], close: 1001 },
    { send: [connected(6), { type: 'reconnect', after_ms: 1 }] },
    { send: [connected(7), ring(7)], stay: true },
  ]);
  assert.deepEqual(seqs(await take(new Feed(options(url)), 3)), [5, 6, 7]);
  assert.deepEqual(requests, ['/ws', '/ws?after=5', '/ws?after=6', '/ws?after=6']);
  assert.deepEqual([...new Set(keys)], ['raw_key']);
});

test('a connection that breaks before the first event is resumed where it started', async (t) => {
  const { url, requests } = await scriptedServer(t, [{ send: [connected(4)] }, { send: [connected(5), ring(5)], stay: true }]);
  await take(new Feed(options(url)), 1);
  assert.deepEqual(requests, ['/ws', '/ws?after=4']);
});

test('repeated events are delivered once', async (t) => {
  const { url } = await scriptedServer(t, [
    { send: [connected(4), ring(5), ring(6)] },
    { send: [connected(7), ring(5), ring(6), ring(7)], stay: true },
  ]);
  assert.deepEqual(seqs(await take(new Feed(options(url)), 3)), [5, 6, 7]);
});

test('the cursor is what was acknowledged and not what was received', async (t) => {
  const cursor = new MemoryCursor();
  const first = await scriptedServer(t, [{ send: [connected(4), ring(5), ring(6)], stay: true }]);
  const feed = new Feed(options(first.url, { cursor }));
  for await (const item of feed) {
    if (item.seq === 6) break;
    await feed.ack(item);
  }
  assert.deepEqual(await cursor.load(), { epoch: null, seq: 5 });
  const second = await scriptedServer(t, [{ send: [connected(6), ring(6)], stay: true }]);
  assert.deepEqual(seqs(await take(new Feed(options(second.url, { cursor })), 1)), [6]);
  assert.deepEqual(second.requests, ['/ws?after=5']);
});

test('the callback handles one event after the other, and each is acknowledged', async (t) => {
  const cursor = new MemoryCursor();
  const messages = [connected(0), ring(1), ring(2), { type: 'cursor', seq: 9 }, ring(10)];
  const { url } = await scriptedServer(t, [{ send: messages, stay: true }]);
  const feed = new Feed(options(url, { cursor }));
  const received = [];
  let busy = false;
  await feed.each(async (item) => {
    assert.ok(!busy, 'two at once');
    busy = true;
    await new Promise((resolve) => setImmediate(resolve));
    busy = false;
    received.push(item.seq);
    if (item.seq === 10) void feed.close();
  });
  assert.deepEqual(received, [1, 2, 10]);
  assert.deepEqual(await cursor.load(), { epoch: null, seq: 10 });
});

test('an acknowledgement of a consumer is sent again if it was lost', async (t) => {
  const greeting = { ...connected(9), consumer: 'crm', mode: 'exclusive', acked_seq: 4 };
  const { url, requests, acks } = await scriptedServer(t, [
    { send: [greeting, ring(5), ring(6)], receive: 6 },
    // This server did not receive the acknowledgement.
    { send: [greeting, ring(5), ring(6), ring(7)], stay: true, receive: 7 },
  ]);
  const received = [];
  const feed = new Feed(options(url, { consumer: 'crm', after: 0 }));
  await feed.each((item) => {
    received.push(item.seq);
    if (item.seq === 7) setImmediate(() => feed.close());
  });
  assert.deepEqual(received, [5, 6, 7]);
  assert.deepEqual(requests, ['/ws?consumer=crm&after=0', '/ws?consumer=crm&after=6']);
  assert.deepEqual([acks[acks.indexOf(6) + 1], acks.at(-1)], [6, 7]);
});

test('a consumer that was taken over does not reconnect', { timeout: 30_000 }, async (t) => {
  const greeting = { ...connected(4), consumer: 'crm', mode: 'exclusive', acked_seq: 4 };
  const { url, requests } = await scriptedServer(t, [{ send: [greeting, ring(5), ring(6)], close: 4409 }]);
  let feed;
  const notice = await new Promise((resolve) => {
    const onNotice = (notice) => notice.type === 'taken_over' && resolve(notice);
    feed = new Feed(options(url, { consumer: 'crm', onNotice }));
  });
  assert.match(notice.reason, /because/);
  // The queued events belong to the newer connection.
  await assert.rejects(take(feed, 1), (error) => error instanceof FeedError && error.isTakenOver);
  assert.equal(requests.length, 1);
});

test('a shared consumer delivers each event once, in the order of delivery', async (t) => {
  const greeting = { ...connected(60), consumer: 'crm', mode: 'share', acked_seq: 0 };
  const { url, requests, acks } = await scriptedServer(t, [
    { send: [greeting, ring(50), ring(7)], receive: 50 },
    { send: [greeting, ring(7), ring(50), ring(3)], stay: true, receive: 3 },
  ]);
  const received = [];
  const feed = new Feed(options(url, { consumer: 'crm', share: true }));
  for await (const item of feed) {
    received.push(item.seq);
    if (item.seq !== 7) await feed.ack(item);
    if (item.seq === 3) break;
  }
  assert.deepEqual(received, [50, 7, 3]);
  assert.deepEqual(requests, ['/ws?consumer=crm&mode=share', '/ws?consumer=crm&mode=share']);
  assert.ok(!acks.slice(0, -1).includes(7) && acks.at(-1) === 3, `${acks}`);
});

test('a gap is reported and the feed continues after it', async (t) => {
  const gap = { type: 'gap', reason: 'expired', from_seq: 3, to_seq: 8, oldest_seq: 9, seq: 20 };
  const { url, requests } = await scriptedServer(t, [{ send: [connected(20), gap] }, { send: [connected(20), ring(9)], stay: true }]);
  const items = await take(new Feed(options(url, { after: 2 })), 2);
  assert.deepEqual([items[0], items[1].seq], [gap, 9]);
  assert.deepEqual(requests, ['/ws?after=2', '/ws?after=8']);
});

test('a replaced key ends the feed', async (t) => {
  const { url } = await scriptedServer(t, [{ send: [connected(0), ring(1)], close: 4403 }]);
  const received = [];
  const ended = new Feed(options(url)).each((item) => void received.push(item.seq));
  await assert.rejects(ended, (error) => error instanceof FeedError && error.code === 4403 && error.isForbidden);
  assert.deepEqual(received, [1]);
});

test('an invalid key ends the feed, and an unavailable server does not', async (t) => {
  const wrong = '{"error":"Invalid API key","code":"INVALID_API_KEY"}';
  const { url, requests } = await scriptedServer(t, [{ refuse: [503, '{}'] }, { refuse: [401, wrong] }]);
  const notices = [];
  const feed = new Feed(options(url, { onNotice: (notice) => notices.push(notice) }));
  await assert.rejects(take(feed, 1), /the server answered 401: Invalid API key/);
  assert.equal(requests.length, 2);
  assert.match(notices[0].reason, /503/);
  assert.ok(!JSON.stringify(notices).includes('raw_key'));
});

test('the delay that the server asks for is respected', async (t) => {
  const { url } = await scriptedServer(t, [{ refuse: [429, '{}', 'retry-after: 7\r\n'] }]);
  let feed;
  const notice = await new Promise((resolve) => (feed = new Feed(options(url, { onNotice: resolve }))));
  assert.equal(notice.retryInMs, 7000);
  await feed.close();
});

test('an unreadable message breaks the connection and not the feed', async (t) => {
  const { url, requests } = await scriptedServer(t, [
    { send: [connected(0), ring(1), '<html>', ring(2)], stay: true },
    { send: [connected(2), ring(2)], stay: true },
  ]);
  assert.deepEqual(seqs(await take(new Feed(options(url)), 2)), [1, 2]);
  assert.deepEqual(requests, ['/ws', '/ws?after=1']);
});

test('events are queued for a slow reader, and none is lost', async (t) => {
  const messages = [connected(0), ...Array.from({ length: 2_000 }, (_, index) => ring(index + 1))];
  const { url } = await scriptedServer(t, [{ send: messages, stay: true }]);
  const received = [];
  const feed = new Feed(options(url));
  for await (const item of feed) {
    // Slower than the server while the queue is full.
    if (received.length < 600) await new Promise((resolve) => setImmediate(resolve));
    received.push(item.seq);
    if (item.seq === 2_000) break;
  }
  assert.deepEqual(
    received,
    messages.slice(1).map(({ seq }) => seq),
  );
});

test('a cursor that can not be read ends the feed', async (t) => {
  const { url, requests } = await scriptedServer(t, []);
  const cursor = { load: () => Promise.reject(new Error('the disk is gone')), save: async () => {} };
  await assert.rejects(take(new Feed(options(url, { cursor })), 1), /the disk is gone/);
  assert.deepEqual(requests, []);
});

test('in a browser the key is in the first message', async (t) => {
  // Browsers have it; older versions of Node do not.
  globalThis.WebSocket = WebSocket;
  const { url, requests, keys } = await scriptedServer(t, [{ keyInMessage: true, send: [connected(0), ring(1)], stay: true }]);
  assert.deepEqual(seqs(await take(new AnyFeed(options(url), browserTransport), 1)), [1]);
  assert.deepEqual([requests, keys], [['/ws'], ['raw_key']]);
});

test('a browser that can not pause closes the connection and loses nothing', async (t) => {
  globalThis.WebSocket = WebSocket;
  const received = [];
  const send = (request) => {
    const after = Number(new URL(request, 'ws://server').searchParams.get('after') ?? 0);
    assert.ok(after - received.length <= 256, `${after - received.length} events are queued`);
    return [connected(2_000), ...Array.from({ length: 2_000 - after }, (_, index) => ring(after + index + 1))];
  };
  const connections = Array.from({ length: 40 }, () => ({ keyInMessage: true, send, stay: true }));
  const { url, requests } = await scriptedServer(t, connections);
  const notices = [];
  let feed;
  // Nothing is read before the queue is full for the first time, so it is known where that connection ends.
  await new Promise((resolve) => {
    const onNotice = (notice) => {
      notices.push(notice);
      if (notice.type === 'disconnected') resolve();
    };
    feed = new AnyFeed(options(url, { after: 0, onNotice }), browserTransport);
  });
  for await (const item of feed) {
    // Slower than the server.
    if (received.length % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    received.push(item.seq);
    if (item.seq === 2_000) break;
  }
  assert.deepEqual(
    received,
    Array.from({ length: 2_000 }, (_, index) => index + 1),
  );
  assert.equal(requests[1], '/ws?after=256');
  assert.ok(requests.length <= 17, `${requests.length} connections`);
  assert.equal(notices[1].reason, 'the queue is full');
});
