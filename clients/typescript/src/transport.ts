/** What a feed needs of a WebSocket, wherever it runs. */

export interface Door {
  /** The address of `/ws` with its query. */
  url: string;
  apiKey: string;
}

/** How a connection ended. */
export interface End {
  reason: string;
  /** The close code, or the HTTP status of a refused handshake; null where the connection just broke. */
  code: number | null;
  /** How long the server asks to wait. */
  retryAfterMs?: number;
}

export interface Handlers {
  /** A text message. */
  said(text: string): void;
  /** A sign of life without words. */
  alive(): void;
  /** The end; called once. */
  ended(end: End): void;
}

export interface Connection {
  /** Says something, where it is open. */
  send(text: string): void;
  /** Says goodbye. */
  close(): void;
  /** Ends it without a word. */
  terminate(): void;
  /** Reads no more until `resume`. */
  pause(): void;
  resume(): void;
}

export interface Transport {
  open(door: Door, handlers: Handlers): Connection;
  /** Whether it hears the server's pings, so that silence means something. */
  readonly hearsPings: boolean;
  /** Whether `pause` does anything. */
  readonly canPause: boolean;
}
