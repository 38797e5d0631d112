// A WebSocket that records its messages.

import WebSocket from 'ws';

import { eventually } from './eventually.js';

/** Opens a WebSocket; `messages` has all received messages, `closed` the close code once it is closed. */
export function open(url, options = {}) {
  const ws = new WebSocket(url, options);
  const opened = { ws, messages: [], closed: null, refused: null };
  ws.on('message', (data) => opened.messages.push(JSON.parse(data)));
  ws.on('close', (code) => (opened.closed = code));
  ws.on('unexpected-response', (request, response) => {
    opened.refused = response;
    request.destroy();
  });
  ws.on('error', () => {});
  return opened;
}

/** Waits until at least `count` events were received, and returns them. */
export async function events(opened, count) {
  return eventually(`${count} events arrive`, () => {
    const events = opened.messages.filter((message) => message.event_id);
    return events.length >= count && events;
  });
}

/** Waits for the message `connected`, and returns it. */
export async function connected(opened) {
  return eventually('the connected message arrives', () => opened.messages.find(({ type }) => type === 'connected'));
}
