import type { Connection, ConnectionEnd, Endpoint, Handlers, Transport } from './transport.js';

/** How long the handshake may take. */
const OPEN_TIMEOUT_MS = 15_000;
/** How long the event `close` may take after an `error` of an open socket, or after `close()`. */
const CLOSE_TIMEOUT_MS = 2_000;

const BROKEN: ConnectionEnd = { code: null, reason: 'the connection broke, or was refused' };

/**
 * The WebSocket of browsers, and of Node 22 and later. It has no headers, so the key goes in the first message, where no log
 * has it. Pings are not visible, and reading can't be paused.
 *
 * After a failed handshake some versions of Node emit `error` and never `close`. A server that does not answer a close frame
 * keeps a socket closing for a long time.
 */
export const browserTransport: Transport = {
  seesPings: false,
  canPause: false,

  open({ url, apiKey }: Endpoint, handlers: Handlers): Connection {
    const socket = new WebSocket(url);
    let timer: ReturnType<typeof setTimeout> | undefined;
    let hasEnded = false;
    const end = (how: ConnectionEnd) => {
      hasEnded = true;
      clearTimeout(timer);
      socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
      handlers.onEnd(how);
    };
    const endAfter = (ms: number) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        end(BROKEN);
        socket.close();
      }, ms);
    };
    endAfter(OPEN_TIMEOUT_MS);
    let isOpen = false;
    socket.onopen = () => {
      isOpen = true;
      clearTimeout(timer);
      socket.send(JSON.stringify({ type: 'subscribe', api_key: apiKey }));
    };
    socket.onmessage = (message) => handlers.onMessage(String(message.data));
    // Only `close` has a code, and only an open socket can have one.
    socket.onerror = () => (isOpen ? endAfter(CLOSE_TIMEOUT_MS) : end(BROKEN));
    socket.onclose = ({ code, reason }) => {
      if (code === 1006) end(BROKEN);
      else end({ code, reason: `closed with ${code}: ${reason}` });
    };
    const close = (code?: number) => {
      if (!hasEnded) endAfter(CLOSE_TIMEOUT_MS);
      socket.close(code);
    };
    return {
      send: (text) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(text);
      },
      close: () => close(1000),
      terminate: () => close(),
      pause: () => {},
      resume: () => {},
    };
  },
};
