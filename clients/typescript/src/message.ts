/** What comes over the wire: an event, or a word of the server about the connection itself. */

import { EVENT_TYPES, type CtiEvent, type Gap } from './events.js';
import type { Piece, Snapshot } from './snapshot.js';

export type Message =
  /** `acked`: where the server stands in its own account of a named consumer. */
  | { kind: 'connected'; seq: number; acked: number | null }
  | { kind: 'event'; event: CtiEvent }
  /** Some of the calls that are not over, or the last of them. */
  | { kind: 'snapshot'; piece: Piece }
  | { kind: 'gap'; gap: Gap }
  /** Everything up to here is not for this subscription. */
  | { kind: 'cursor'; seq: number }
  | { kind: 'reconnect'; afterMs: number }
  /** What a newer server may say. */
  | { kind: 'unknown' };

const KNOWN = new Set<string>(EVENT_TYPES);

/** Reads one message; throws where it is none. */
export function read(text: string): Message {
  const said: unknown = JSON.parse(text);
  if (typeof said !== 'object' || said === null) throw new Error('it is no object');
  const message = said as Record<string, unknown>;
  const { type, seq, event_id: eventId } = message;
  if (typeof type !== 'string') throw new Error('it has no type');
  // Only events have an id of their own: words about the connection can't be told again.
  if (typeof eventId === 'string' && isPlace(seq)) return { kind: 'event', event: event(type, message) };
  if (type === 'snapshot' && isPlace(seq) && Array.isArray(message['calls'])) {
    return { kind: 'snapshot', piece: message as unknown as Piece };
  }
  if (type === 'gap') return { kind: 'gap', gap: message as unknown as Gap };
  if (type === 'connected' && isPlace(seq)) {
    const acked = message['acked_seq'];
    return { kind: 'connected', seq, acked: isPlace(acked) ? acked : null };
  }
  if (type === 'cursor' && isPlace(seq)) return { kind: 'cursor', seq };
  if (type === 'reconnect') return { kind: 'reconnect', afterMs: Number(message['after_ms']) || 0 };
  return { kind: 'unknown' };
}

function event(type: string, message: Record<string, unknown>): CtiEvent {
  if (KNOWN.has(type)) return message as unknown as CtiEvent;
  const told = message as unknown as CtiEvent;
  const { seq, event_id, app_id, timestamp } = told;
  return { type: 'unknown', unknown_type: type, seq, event_id, app_id, timestamp, raw: message };
}

function isPlace(seq: unknown): seq is number {
  return Number.isSafeInteger(seq) && (seq as number) >= 0;
}

/** The cursor behind an event, a snapshot or a gap. */
export function placeOf(item: CtiEvent | Gap | Snapshot): number {
  if (item.type !== 'gap') return item.seq;
  return item.reason === 'cursor_ahead' ? item.seq : item.to_seq;
}
