// The transport of browsers, with each WebSocket that this version of Node has: its own (Node 22 and later), and `ws`.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';

import WebSocket from 'ws';

import { Feed } from '../dist/feed.js';
import { browserTransport } from '../dist/transport-browser.js';
import { connected, options, ring, scriptedServer, seqs, take } from '../support/scripted-server.js';

const builtIn = globalThis.WebSocket;
const implementations = [
  { name: 'the built-in WebSocket', WebSocket: builtIn, skip: builtIn ? false : 'Node has one since version 22' },
  { name: 'ws', WebSocket, skip: false },
];

for (const implementation of implementations) {
  const { name, skip } = implementation;

  function browserTest(what, run) {
    test(`${name}: ${what}`, { skip, timeout: 60_000 }, async (t) => {
      globalThis.WebSocket = implementation.WebSocket;
      t.after(() => (globalThis.WebSocket = builtIn));
      await run(t);
    });
  }

  browserTest('a refused handshake is tried again', async (t) => {
    const { url, requests } = await scriptedServer(t, [
      { refuse: [503, '{"error":"no database"}'] },
      { refuse: [502, '<html>'] },
      { keyInMessage: true, send: [connected(0), ring(1)], stay: true },
    ]);
    const notices = [];
    const feed = new Feed(options(url, { onNotice: (notice) => notices.push(notice.type) }), browserTransport);
    assert.deepEqual(seqs(await take(feed, 1)), [1]);
    assert.equal(requests.length, 3);
    assert.deepEqual(notices, ['disconnected', 'disconnected', 'connected']);
  });

  browserTest('a server that is away is tried again', async (t) => {
    const placeholder = createServer().listen(0, '127.0.0.1');
    await once(placeholder, 'listening');
    const { port } = placeholder.address();
    placeholder.close();
    await once(placeholder, 'close');
    let failures = 0;
    let feed;
    const done = new Promise((resolve) => {
      const onNotice = ({ type }) => type === 'disconnected' && ++failures === 3 && resolve();
      feed = new Feed(options(`http://127.0.0.1:${port}`, { onNotice }), browserTransport);
    });
    const items = (async () => {
      for await (const item of feed) assert.fail(`there is no server, and an item: ${item}`);
    })();
    await done;
    await feed.close();
    await items;
    t.diagnostic(`${failures} failures`);
  });

  browserTest('a broken connection is resumed, and a close code ends the feed', async (t) => {
    const { url, requests } = await scriptedServer(t, [
      { keyInMessage: true, send: [connected(4), ring(5)] },
      { keyInMessage: true, send: [connected(6), ring(6)], close: 4403 },
    ]);
    const feed = new Feed(options(url), browserTransport);
    const items = [];
    await assert.rejects(
      async () => {
        for await (const item of feed) items.push(item.seq);
      },
      { name: 'FeedError', code: 4403 },
    );
    assert.deepEqual(items, [5, 6]);
    assert.deepEqual(requests, ['/ws', '/ws?after=5']);
  });

  browserTest('each connection ends once, also one that the server never closes', async (t) => {
    // It completes the handshake, and then neither reads nor answers.
    const sockets = [];
    const deaf = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      socket.once('data', (head) => {
        const key = /sec-websocket-key: (.*)\r\n/i.exec(head)[1];
        const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
        socket.pause();
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
        );
        socket.write(Buffer.from([0x81, 2, 0x68, 0x69]));
      });
    }).listen(0, '127.0.0.1');
    await once(deaf, 'listening');
    t.after(() => {
      for (const socket of sockets) socket.destroy();
      deaf.close();
    });
    const ends = [];
    let connection;
    const opened = new Promise((resolve) => {
      const handlers = { onMessage: resolve, onActivity: () => {}, onEnd: (end) => ends.push(end) };
      connection = browserTransport.open({ url: `ws://127.0.0.1:${deaf.address().port}/ws`, apiKey: 'k' }, handlers);
    });
    assert.equal(await opened, 'hi');
    connection.terminate();
    connection.close();
    const deadline = Date.now() + 10_000;
    while (ends.length === 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
    connection.terminate();
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    assert.equal(ends.length, 1);
  });
}
