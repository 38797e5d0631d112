/** The messages of the WebSocket: events, and control messages. */

import { EVENT_TYPES, type CtiEvent, type EpochChanged, type Gap } from './events.js';
import type { SnapshotPart, Snapshot } from './snapshot.js';

export type Message =
  /** `epoch`: null if the server is older. `acked`: the cursor of a named consumer on the server. */
  | { kind: 'connected'; epoch: string | null; seq: number; acked: number | null }
  | { kind: 'event'; event: CtiEvent }
  /** A part of the snapshot. */
  | { kind: 'snapshot'; part: SnapshotPart }
  | { kind: 'gap'; gap: Gap }
  | { kind: 'epoch_changed'; change: EpochChanged }
  /** No event up to here matches the subscription, or none came: a `cursor`, or a `watermark`. */
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
  if (type === 'gap' && message['reason'] === 'epoch_changed') {
    return { kind: 'epoch_changed', change: { ...(message as unknown as Gap), type: 'epoch_changed' } };
  }
  if (type === 'gap') return { kind: 'gap', gap: message as unknown as Gap };
  if (type === 'connected' && isSeq(seq)) {
    const { epoch, acked_seq: acked } = message;
    return { kind: 'connected', epoch: typeof epoch === 'string' ? epoch : null, seq, acked: isSeq(acked) ? acked : null };
  }
  if ((type === 'cursor' || type === 'watermark') && isSeq(seq)) return { kind: 'cursor', seq };
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

/** Returns the `seq` of the cursor after an item. */
export function cursorOf(item: CtiEvent | Gap | EpochChanged | Snapshot): number {
  if (item.type === 'epoch_changed') return item.to_seq;
  if (item.type !== 'gap') return item.seq;
  return item.reason === 'cursor_ahead' ? item.seq : item.to_seq;
}
