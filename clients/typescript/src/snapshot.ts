/** The calls that a feed begins with, put together from the pieces in which they come. */

import type { CallFacts, Instant, Status } from './events.js';

/** A call that is not over, as `GET /api/calls` shows it. */
export interface ActiveCall extends CallFacts {
  /** Our id of it. */
  id: string;
  app_id: string;
  status: Exclude<Status, 'ended'>;
  ringing_at: Instant | null;
  /** When a person answered, under both its names. */
  answered_at: Instant | null;
  started_at: Instant | null;
  recording_url: string | null;
  /** Whether the caller was sent to voicemail. */
  is_voicemail: boolean;
  /** When it was first seen, and when anything of it last changed. */
  created_at: Instant;
  updated_at: Instant;
}

/** What is going on as of an event: every call that is not over. The feed goes on with the first event behind it. */
export interface Snapshot {
  type: 'snapshot';
  /** The event that it is as of; 0: nothing has happened yet. */
  seq: number;
  /** The oldest first. */
  calls: ActiveCall[];
}

/** One piece of it, as it comes over the wire. */
export interface Piece extends Snapshot {
  complete: boolean;
}

/** The pieces so far. Whoever is cut off before the last one asks for all of them again. */
export class Pieces {
  #calls: ActiveCall[] = [];

  /** Adds one; the last one completes the snapshot. */
  add({ seq, calls, complete }: Piece): Snapshot | null {
    // Not spread into one call: that many arguments may be too many.
    for (const call of calls) this.#calls.push(call);
    return complete ? { type: 'snapshot', seq, calls: this.#calls } : null;
  }
}
