import type { IncomingMessage } from 'node:http';

import WebSocket from 'ws';

import type { Connection, Endpoint, ConnectionEnd, Handlers, Transport } from './transport.js';

/** How long the handshake may take. */
const OPEN_TIMEOUT_MS = 15_000;
/** The longest `Retry-After` that is respected. */
const MAX_RETRY_AFTER_MS = 300_000;
/** How much of the body of a refusal is read, in characters. */
const MAX_REFUSAL_LENGTH = 64 << 10;

/** The `ws` package: the key goes in a header, and a refused handshake has a reason. */
export const nodeTransport: Transport = {
  seesPings: true,
  canPause: true,

  open({ url, apiKey }: Endpoint, handlers: Handlers): Connection {
    const headers = { 'x-api-key': apiKey };
    const socket = new WebSocket(url, { headers, handshakeTimeout: OPEN_TIMEOUT_MS });
    let failure: ConnectionEnd | null = null;
    socket.on('message', (data) => handlers.onMessage(String(data)));
    socket.on('ping', () => handlers.onActivity());
    socket.on('error', (error) => (failure ??= { code: null, reason: error.message }));
    socket.on('unexpected-response', (request, response) => {
      void refusal(response).then((end) => {
        failure = end;
        request.destroy();
        // There is no connection to close: ws then reports the destroyed request only.
        socket.terminate();
      });
    });
    socket.on('close', (code, reason) => {
      if (failure) handlers.onEnd(failure);
      else if (code === 1006) handlers.onEnd({ code: null, reason: 'the connection broke' });
      else handlers.onEnd({ code, reason: `closed with ${code}: ${reason}` });
    });
    return {
      send: (text) => {
        // A failure ends the connection, and is reported there.
        if (socket.readyState === WebSocket.OPEN) socket.send(text, () => {});
      },
      close: () => socket.close(1000),
      terminate: () => socket.terminate(),
      pause: () => socket.pause(),
      resume: () => socket.resume(),
    };
  },
};

async function refusal(response: IncomingMessage): Promise<ConnectionEnd> {
  const status = response.statusCode ?? 0;
  let body = '';
  try {
    for await (const part of response) {
      body += part;
      if (body.length > MAX_REFUSAL_LENGTH) break;
    }
  } catch {
    // The part that was received is enough.
  }
  const end: ConnectionEnd = { code: status, reason: `the server answered ${status}: ${errorText(body) ?? response.statusMessage}` };
  const seconds = Number(response.headers['retry-after']);
  if (seconds > 0) end.retryAfterMs = Math.min(seconds * 1000, MAX_RETRY_AFTER_MS);
  return end;
}

function errorText(body: string): string | null {
  try {
    const { error } = JSON.parse(body) as { error?: unknown };
    return typeof error === 'string' ? error : null;
  } catch {
    return null;
  }
}
