/** What to follow, and how. */

import type { Pace } from './backoff.js';
import type { CursorStore } from './cursor.js';
import type { EventType } from './events.js';
import type { Notice } from './feed.js';

export interface FeedOptions {
  /** The server, such as `https://cti.example.com`. */
  url: string;
  apiKey: string;
  /** Only events of these types; `call.*` is all that begin so. */
  types?: (EventType | `${string}*`)[];
  /** Only events that concern this Dialpad user. */
  dialpadUserId?: string | number;
  /** Any other parameter of `/ws`; not those that there are options for. */
  parameters?: Record<string, string>;
  /** Where the cursor is kept; in memory if left out. */
  cursor?: CursorStore;
  /** Begins behind this event, whatever cursor is kept; 0: with the oldest there is; `now`: with what comes. */
  after?: number | 'now';
  /**
   * Begins with the calls that are not over, as one whole, and goes on with the events behind it. Only where there is no
   * cursor yet (or none that counts: `after: 'now'`), and until the snapshot has come once; from then on a connection
   * resumes behind what was heard. A process that ends before it was done is given a new one. It goes together neither
   * with a place in `after` nor with `consumer`.
   */
  snapshot?: boolean;
  /**
   * Lets the server keep the place, under this name, instead of a cursor of one's own. What is not done comes again to
   * whoever is this consumer next; a newer connection takes it over and ends this feed.
   */
  consumer?: string;
  /**
   * Shares the work with the other connections of the consumer: each event goes to one of them, those of one call to the
   * same one, in their order. What a connection that broke had not acknowledged goes to another, and may then be dealt
   * with twice; `event_id` tells.
   */
  share?: boolean;
  pace?: Partial<Pace>;
  /** Is told what becomes of the connection. */
  onNotice?: (notice: Notice) => void;
}

/** The parameters of `/ws` that the client says by itself, or has to know of: it counts on what they do. */
const OWN = ['after', 'snapshot', 'consumer', 'mode', 'ids'];

/** Throws a TypeError where they ask for what does not go together. */
export function check({ share, consumer, snapshot, after, parameters = {} }: FeedOptions): void {
  if (share && consumer === undefined) throw new TypeError('share needs a consumer');
  if (snapshot && consumer !== undefined) {
    throw new TypeError(
      'snapshot does not go together with consumer, which goes on where it stands: read GET /api/calls/active, and let a ' +
        'consumer that is new begin with after: its x-cursor',
    );
  }
  if (snapshot && typeof after === 'number') {
    throw new TypeError('snapshot does not go together with after: it says itself behind which event the feed goes on');
  }
  for (const name of OWN) {
    if (name in parameters) {
      throw new TypeError(`parameters: ${name} is said by the client itself, or has an option`);
    }
  }
}

/**
 * The address of `/ws` with what is asked for: behind this event; where there is none, with what comes from now on, or with
 * a snapshot before that. Throws a TypeError where the server has no such address.
 */
export function addressOf(options: FeedOptions, after: number | null): string {
  const address = new URL(options.url);
  const { protocol, username, password, search, hash } = address;
  if (!/^(http|ws)s?:$/.test(protocol)) throw new TypeError('url must begin with http, https, ws or wss');
  if (username || password || search || hash) throw new TypeError('url must name no user and have no query');
  address.protocol = protocol.replace('http', 'ws');
  address.pathname = `${address.pathname.replace(/\/$/, '')}/ws`;
  const asked = address.searchParams;
  // Ids of Dialpad have up to 64 bits, and numbers here end at 2^53.
  asked.set('ids', 'string');
  if (options.types?.length) asked.set('types', options.types.join(','));
  if (options.consumer !== undefined) asked.set('consumer', options.consumer);
  if (options.share) asked.set('mode', 'share');
  if (options.dialpadUserId !== undefined) asked.set('dialpad_user_id', String(options.dialpadUserId));
  for (const [name, value] of Object.entries(options.parameters ?? {})) asked.set(name, value);
  if (after !== null) asked.set('after', String(after));
  else if (options.snapshot) asked.set('snapshot', 'true');
  return address.href;
}
