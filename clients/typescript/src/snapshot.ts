/** The snapshot of the active calls, put together from its parts. */

import type { CallFacts, Instant, Status } from './events.js';

/** An active call, as `GET /api/calls` returns it. */
export interface ActiveCall extends CallFacts {
  /** The server's id of it. */
  id: string;
  app_id: string;
  status: Exclude<Status, 'ended'>;
  ringing_at: Instant | null;
  /** When a person answered, under both names. */
  answered_at: Instant | null;
  started_at: Instant | null;
  recording_url: string | null;
  /** Whether the caller was routed to voicemail. */
  is_voicemail: boolean;
  /** When it was first seen, and when it last changed. */
  created_at: Instant;
  updated_at: Instant;
}

/** The active calls as of one event. The feed continues with the next event. */
export interface Snapshot {
  type: 'snapshot';
  /** The event that it is as of; 0 before the first event. */
  seq: number;
  /** The calls, oldest first. */
  calls: ActiveCall[];
}

/** One part of a snapshot. */
export interface SnapshotPart extends Snapshot {
  complete: boolean;
}

/** The parts received so far. If the connection breaks before the last part, the next one requests a new snapshot. */
export class PartialSnapshot {
  #calls: ActiveCall[] = [];

  /** Adds a part; the last part completes the snapshot. */
  add({ seq, calls, complete }: SnapshotPart): Snapshot | null {
    // Not `push(...calls)`: the number of arguments is limited.
    for (const call of calls) this.#calls.push(call);
    return complete ? { type: 'snapshot', seq, calls: this.#calls } : null;
  }
}
