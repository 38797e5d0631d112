import type { Connection, Endpoint, Handlers, Transport } from './transport.js';

/**
 * The WebSocket of browsers. It has no headers, so the key goes in the first message, where no log has it. Pings are not
 * visible, and reading can't be paused.
 */
export const browserTransport: Transport = {
  seesPings: false,
  canPause: false,

  open({ url, apiKey }: Endpoint, handlers: Handlers): Connection {
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send(JSON.stringify({ type: 'subscribe', api_key: apiKey }));
    socket.onmessage = (message) => handlers.onMessage(String(message.data));
    socket.onclose = ({ code, reason }) => {
      if (code === 1006) handlers.onEnd({ code: null, reason: 'the connection broke, or was refused' });
      else handlers.onEnd({ code, reason: `closed with ${code}: ${reason}` });
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
