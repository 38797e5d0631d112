// A scripted WebSocket server, and helpers that read a feed from it.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';

import { WebSocketServer } from 'ws';

export const connected = (seq) => ({ type: 'connected', app_id: 'a', session_id: 's', seq, oldest_seq: 1 });
/** The `connected` message of a server that names the epoch of its feed. */
export const connectedIn = (epoch, seq) => ({ ...connected(seq), epoch });
export const ring = (seq) => ({ type: 'call.ring', seq, event_id: `e${seq}`, app_id: 'a', call_id: String(seq) });

/** Serves the connections one after the other; `requests` has the URL of each, `keys` its API key. */
export async function scriptedServer(t, connections) {
  const [requests, keys, acks, left] = [[], [], [], [...connections]];
  const http = createServer();
  const sockets = new WebSocketServer({ noServer: true });
  http.on('upgrade', (request, socket, head) => {
    const { refuse, send = [], close, stay, keyInMessage, receive } = left.shift() ?? { stay: true };
    requests.push(request.url.replace('ids=string', '').replace('?&', '?').replace(/\?$/, ''));
    if (refuse) {
      const [status, body, headers = ''] = refuse;
      socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: ${body.length}\r\n${headers}\r\n${body}`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, async (ws) => {
      if (keyInMessage) {
        const first = await new Promise((resolve) => ws.once('message', (data) => resolve(JSON.parse(data))));
        assert.equal(first.type, 'subscribe');
        keys.push(first.api_key);
      } else {
        keys.push(request.headers['x-api-key']);
      }
      const messages = typeof send === 'function' ? send(request.url) : send;
      for (const message of messages) ws.send(typeof message === 'string' ? message : JSON.stringify(message));
      if (receive) await acknowledged(ws, receive, acks);
      if (close) ws.close(close, 'because');
      // Cuts the connection once everything is sent.
      else if (!stay) ws._socket.end();
    });
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const ws of sockets.clients) ws.terminate();
    http.close();
  });
  return { url: `http://127.0.0.1:${http.address().port}`, requests, keys, acks };
}

/** Receives acknowledgements until one of this event. */
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

export const options = (url, more = {}) => ({ url, apiKey: 'raw_key', backoff: { initialMs: 5 }, ...more });

/** Takes this many items and leaves the feed. */
export async function take(feed, count) {
  const items = [];
  for await (const item of feed) {
    items.push(item);
    if (items.length === count) break;
  }
  return items;
}

export const seqs = (items) => items.map(({ seq }) => seq);
