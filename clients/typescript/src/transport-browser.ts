import type { Connection, Door, Handlers, Transport } from './transport.js';

/**
 * The WebSocket of a browser: it has no headers, so the key goes in the first message, where no log sees it. Pings are
 * answered unseen, and reading can't be paused.
 */
export const browserTransport: Transport = {
  hearsPings: false,
  canPause: false,

  open({ url, apiKey }: Door, handlers: Handlers): Connection {
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send(JSON.stringify({ type: 'subscribe', api_key: apiKey }));
    socket.onmessage = (message) => handlers.said(String(message.data));
    socket.onclose = ({ code, reason }) => {
      if (code === 1006) handlers.ended({ code: null, reason: 'the connection broke, or was refused' });
      else handlers.ended({ code, reason: `closed with ${code}: ${reason}` });
    };
    return {
      send: (text) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(text);
      },
      close: () => socket.close(1000),
      terminate: () => socket.close(),
      pause: () => {},
      resume: () => {},
    };
  },
};
