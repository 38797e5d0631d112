/** What to follow, and from where. */

import type { Backoff } from './backoff.js';
import { formatCursor, type Cursor, type CursorStore } from './cursor.js';
import type { EventType } from './events.js';
import type { Notice } from './feed.js';

export interface FeedOptions {
  /** The server's address, such as `https://cti.example.com`. */
  url: string;
  apiKey: string;
  /** Only events of these types; `call.*` matches all types that start with `call.`. */
  types?: (EventType | `${string}*`)[];
  /** Only events that concern this Dialpad user. */
  dialpadUserId?: string | number;
  /** Other query parameters of `/ws`; not those that there are options for. */
  parameters?: Record<string, string>;
  /** Where the cursor is stored; in memory by default. */
  cursor?: CursorStore;
  /**
   * Starts after this event and ignores a stored cursor; 0: with the oldest stored event; `now`: with new events. With an
   * epoch the feed starts with `epoch_changed` if it has another one.
   */
  after?: Cursor | number | 'now';
  /**
   * Starts with a snapshot of the active calls, and continues with the events after it. This applies only without a cursor
   * (or with `after: 'now'`), and until the snapshot was delivered once; later connections resume after the last event. A
   * process that ends before it has acknowledged the snapshot gets a new one. It can't be combined with a number in `after`
   * or with `consumer`.
   */
  snapshot?: boolean;
  /**
   * Lets the server store the cursor, under the name of a consumer. Events that are not acknowledged are delivered again to
   * the next connection of the consumer; a newer connection takes over and ends this feed.
   */
  consumer?: string;
  /**
   * Shares the consumer with other connections: each event goes to one connection, and all events of a call to the same
   * one, in order. Events that a broken connection had not acknowledged go to another one; they may be processed twice,
   * with the same `event_id`.
   */
  share?: boolean;
  /** The delays between attempts to connect. */
  backoff?: Partial<Backoff>;
  /** A callback for changes of the connection. */
  onNotice?: (notice: Notice) => void;
}

/** The parameters of `/ws` that the client sets itself, because it depends on their effect. */
const RESERVED = ['after', 'snapshot', 'consumer', 'mode', 'ids'];

/** Throws a TypeError if options can't be combined. */
export function check({ share, consumer, snapshot, after, parameters = {} }: FeedOptions): void {
  if (share && consumer === undefined) throw new TypeError('share requires consumer');
  if (snapshot && consumer !== undefined) {
    throw new TypeError(
      "snapshot can't be combined with consumer, which resumes from its own cursor: read GET /api/calls/active, and create " +
        'the consumer with after: its x-cursor',
    );
  }
  if (snapshot && after !== undefined && after !== 'now') {
    throw new TypeError("snapshot can't be combined with after: the feed continues after the snapshot's own event");
  }
  for (const name of RESERVED) {
    if (name in parameters) {
      throw new TypeError(`parameters: ${name} is set by the client, or has an option`);
    }
  }
}

/**
 * Returns the URL of `/ws`, which resumes after this event; with null it starts with new events, or with a snapshot. Throws
 * a TypeError if the server's address is invalid.
 */
export function addressOf(options: FeedOptions, after: Cursor | null): string {
  const address = new URL(options.url);
  const { protocol, username, password, search, hash } = address;
  if (!/^(http|ws)s?:$/.test(protocol)) throw new TypeError('url must begin with http, https, ws or wss');
  if (username || password || search || hash) throw new TypeError('url must have no user and no query');
  address.protocol = protocol.replace('http', 'ws');
  address.pathname = `${address.pathname.replace(/\/$/, '')}/ws`;
  const query = address.searchParams;
  // Dialpad's ids have up to 64 bits, and a number is exact only up to 2^53.
  query.set('ids', 'string');
  if (options.types?.length) query.set('types', options.types.join(','));
  if (options.consumer !== undefined) query.set('consumer', options.consumer);
  if (options.share) query.set('mode', 'share');
  if (options.dialpadUserId !== undefined) query.set('dialpad_user_id', String(options.dialpadUserId));
  for (const [name, value] of Object.entries(options.parameters ?? {})) query.set(name, value);
  if (after !== null) query.set('after', formatCursor(after));
  else if (options.snapshot) query.set('snapshot', 'true');
  return address.href;
}
