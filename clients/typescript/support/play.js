// A server that says exactly what the test wants, connection after connection, and how a feed is read from it.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';

import { WebSocketServer } from 'ws';

export const connected = (seq) => ({ type: 'connected', app_id: 'a', session_id: 's', seq, oldest_seq: 1 });
export const ring = (seq) => ({ type: 'call.ring', seq, event_id: `e${seq}`, app_id: 'a', call_id: String(seq) });

/** Plays one connection after the other; `asked` has what was asked for by each, `keys` with which key. */
export async function play(t, connections) {
  const [asked, keys, acks, left] = [[], [], [], [...connections]];
  const http = createServer();
  const sockets = new WebSocketServer({ noServer: true });
  http.on('upgrade', (request, socket, head) => {
    const { refuse, say = [], close, stay, keyComes, hear } = left.shift() ?? { stay: true };
    asked.push(request.url.replace('ids=string', '').replace('?&', '?').replace(/\?$/, ''));
    if (refuse) {
      const [status, body, headers = ''] = refuse;
      socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: ${body.length}\r\n${headers}\r\n${body}`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, async (ws) => {
      if (keyComes) {
        const first = await new Promise((resolve) => ws.once('message', (data) => resolve(JSON.parse(data))));
        assert.equal(first.type, 'subscribe');
        keys.push(first.api_key);
      } else {
        keys.push(request.headers['x-api-key']);
      }
      const words = typeof say === 'function' ? say(request.url) : say;
      for (const message of words) ws.send(typeof message === 'string' ? message : JSON.stringify(message));
      if (hear) await acknowledged(ws, hear, acks);
      if (close) ws.close(close, 'because');
      // Cut, once all is on its way.
      else if (!stay) ws._socket.end();
    });
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const ws of sockets.clients) ws.terminate();
    http.close();
  });
  return { url: `http://127.0.0.1:${http.address().port}`, asked, keys, acks };
}

/** Hears acknowledgements until there is one of this event. */
function acknowledged(ws, last, acks) {
  return new Promise((resolve) => {
    ws.on('message', (data) => {
      const { type, seq } = JSON.parse(data);
      assert.equal(type, 'ack');
      acks.push(seq);
      if (seq === last) resolve();
    });
  });
}

export const options = (url, more = {}) => ({ url, apiKey: 'raw_key', pace: { baseMs: 5 }, ...more });

/** Takes so many items and leaves. */
export async function take(feed, count) {
  const items = [];
  for await (const item of feed) {
    items.push(item);
    if (items.length === count) break;
  }
  return items;
}

export const seqs = (items) => items.map(({ seq }) => seq);
