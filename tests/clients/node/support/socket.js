// A WebSocket whose messages are kept.

import WebSocket from 'ws';

import { eventually } from './eventually.js';

/** Opens one; `messages` has all that was said, `closed` the code once it is closed. */
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

/** Waits until it was told so many events, and gives them. */
export async function events(opened, count) {
  return eventually(`${count} events come`, () => {
    const events = opened.messages.filter((message) => message.event_id);
    return events.length >= count && events;
  });
}

export async function connected(opened) {
  return eventually('the server greets', () => opened.messages.find(({ type }) => type === 'connected'));
}
