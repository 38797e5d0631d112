import type { IncomingMessage } from 'node:http';

import WebSocket from 'ws';

import type { Connection, Door, End, Handlers, Transport } from './transport.js';

/** How long a handshake may take. */
const OPEN_WITHIN_MS = 15_000;
/** The longest wait that a server may ask for. */
const LONGEST_WAIT_MS = 300_000;
/** How much of a refusal is read. */
const LONGEST_REFUSAL = 64 << 10;

/** The `ws` package: the key goes in a header, and a refused handshake says why. */
export const nodeTransport: Transport = {
  hearsPings: true,
  canPause: true,

  open({ url, apiKey }: Door, handlers: Handlers): Connection {
    const headers = { 'x-api-key': apiKey };
    const socket = new WebSocket(url, { headers, handshakeTimeout: OPEN_WITHIN_MS });
    let failure: End | null = null;
    socket.on('message', (data) => handlers.said(String(data)));
    socket.on('ping', () => handlers.alive());
    socket.on('error', (error) => (failure ??= { code: null, reason: error.message }));
    socket.on('unexpected-response', (request, response) => {
      void refusal(response).then((end) => {
        failure = end;
        request.destroy();
        // Without a connection there is nothing to close: ws only tells of the destroyed request.
        socket.terminate();
      });
    });
    socket.on('close', (code, reason) => {
      if (failure) handlers.ended(failure);
      else if (code === 1006) handlers.ended({ code: null, reason: 'the connection broke' });
      else handlers.ended({ code, reason: `closed with ${code}: ${reason}` });
    });
    return {
      send: (text) => {
        // What goes wrong with it ends the connection, and is told there.
        if (socket.readyState === WebSocket.OPEN) socket.send(text, () => {});
      },
      close: () => socket.close(1000),
      terminate: () => socket.terminate(),
      pause: () => socket.pause(),
      resume: () => socket.resume(),
    };
  },
};

async function refusal(response: IncomingMessage): Promise<End> {
  const status = response.statusCode ?? 0;
  let body = '';
  try {
    for await (const part of response) {
      body += part;
      if (body.length > LONGEST_REFUSAL) break;
    }
  } catch {
    // What came of it must do.
  }
  const end: End = { code: status, reason: `the server answers ${status}: ${sentence(body) ?? response.statusMessage}` };
  const seconds = Number(response.headers['retry-after']);
  if (seconds > 0) end.retryAfterMs = Math.min(seconds * 1000, LONGEST_WAIT_MS);
  return end;
}

function sentence(body: string): string | null {
  try {
    const { error } = JSON.parse(body) as { error?: unknown };
    return typeof error === 'string' ? error : null;
  } catch {
    return null;
  }
}
