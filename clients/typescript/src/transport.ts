/** What a feed requires of a WebSocket on any platform. */

export interface Endpoint {
  /** The URL of `/ws` with its query. */
  url: string;
  apiKey: string;
}

/** How a connection onEnd. */
export interface ConnectionEnd {
  reason: string;
  /** The close code, or the HTTP status of a refused handshake; null if the connection broke. */
  code: number | null;
  /** The delay that the server asks for. */
  retryAfterMs?: number;
}

export interface Handlers {
  /** Called with each text message. */
  onMessage(text: string): void;
  /** Called with a ping. */
  onActivity(): void;
  /** Called once, at the end. */
  onEnd(end: ConnectionEnd): void;
}

export interface Connection {
  /** Sends a text message, if the connection is open. */
  send(text: string): void;
  /** Closes the connection. */
  close(): void;
  /** Ends the connection without a close frame. */
  terminate(): void;
  /** Stops reading until `resume`. */
  pause(): void;
  resume(): void;
}

export interface Transport {
  open(endpoint: Endpoint, handlers: Handlers): Connection;
  /** Whether it sees the server's pings, so that silence can be detected. */
  readonly seesPings: boolean;
  /** Whether `pause` does anything. */
  readonly canPause: boolean;
}
