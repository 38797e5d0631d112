/** The messages of the WebSocket: events, and control messages. */

import { EVENT_TYPES, type CtiEvent, type Gap } from './events.js';
import type { SnapshotPart, Snapshot } from './snapshot.js';

export type Message =
  /** `acked`: the cursor of a named consumer on the server. */
  | { kind: 'connected'; seq: number; acked: number | null }
  | { kind: 'event'; event: CtiEvent }
  /** A part of the snapshot. */
  | { kind: 'snapshot'; part: SnapshotPart }
  | { kind: 'gap'; gap: Gap }
  /** No event up to here matches the subscription. */
  | { kind: 'cursor'; seq: number }
  | { kind: 'reconnect'; afterMs: number }
  /** A type that this version does not know. */
  | { kind: 'unknown' };

const KNOWN = new Set<string>(EVENT_TYPES);

/** Parses a message; throws if it is not one. */
export function read(text: string): Message {
  const json: unknown = JSON.parse(text);
  if (typeof json !== 'object' || json === null) throw new Error('not an object');
  const message = json as Record<string, unknown>;
  const { type, seq, event_id: eventId } = message;
  if (typeof type !== 'string') throw new Error('no type');
  // Only events have an id: control messages are never repeated.
  if (typeof eventId === 'string' && isSeq(seq)) return { kind: 'event', event: event(type, message) };
  if (type === 'snapshot' && isSeq(seq) && Array.isArray(message['calls'])) {
    return { kind: 'snapshot', part: message as unknown as SnapshotPart };
  }
  if (type === 'gap') return { kind: 'gap', gap: message as unknown as Gap };
  if (type === 'connected' && isSeq(seq)) {
    const acked = message['acked_seq'];
    return { kind: 'connected', seq, acked: isSeq(acked) ? acked : null };
  }
  if (type === 'cursor' && isSeq(seq)) return { kind: 'cursor', seq };
  if (type === 'reconnect') return { kind: 'reconnect', afterMs: Number(message['after_ms']) || 0 };
  return { kind: 'unknown' };
}

function event(type: string, message: Record<string, unknown>): CtiEvent {
  if (KNOWN.has(type)) return message as unknown as CtiEvent;
  const { seq, event_id, app_id, timestamp } = message as unknown as CtiEvent;
  return { type: 'unknown', unknown_type: type, seq, event_id, app_id, timestamp, raw: message };
}

function isSeq(seq: unknown): seq is number {
  return Number.isSafeInteger(seq) && (seq as number) >= 0;
}

/** Returns the cursor after an event, a snapshot or a gap. */
export function cursorOf(item: CtiEvent | Gap | Snapshot): number {
  if (item.type !== 'gap') return item.seq;
  return item.reason === 'cursor_ahead' ? item.seq : item.to_seq;
}
