// What the compiler must accept and reject: checked by `tsc`, never run.

import { Feed, type CtiEvent, type Item, type Snapshot } from '../dist/node.js';

export function theTypeNarrowsTheFields(event: CtiEvent): string | null {
  switch (event.type) {
    case 'call.ring':
      return event.ringing_at ?? event.from_number;
    case 'call.ended':
      return `${event.outcome} after ${event.duration_seconds} s`;
    case 'call.updated':
      return event.changed.join(', ');
    case 'voicemail.received':
      return event.transcript;
    case 'message.received':
      return event.to_numbers[0] ?? event.text;
    case 'connection.expired':
      return event.code;
    case 'unknown':
      return `${event.unknown_type}: ${String(event.raw['pages'])}`;
    default:
      // @ts-expect-error Not every event has a transcript.
      return event.transcript;
  }
}

export function isNotInferred(event: CtiEvent): boolean {
  return event.type === 'call.raw' ? event.source === undefined : event.type !== 'voicemail.received' || !event.inferred;
}

export function cursorOfItem(item: Item): number {
  return item.type === 'gap' ? item.to_seq : item.seq;
}

export function activeCallsHaveNotEnded(snapshot: Snapshot): string[] {
  return snapshot.calls.map((call) => {
    // @ts-expect-error A snapshot has no ended calls.
    if (call.status === 'ended') return '';
    return `${call.from_number} since ${call.started_at ?? call.ringing_at}`;
  });
}

export function optionsAreChecked(): Feed[] {
  const server = { url: 'https://cti.example.com', apiKey: 'raw_' };
  return [
    new Feed({ ...server, types: ['call.*', 'voicemail.received'], after: 'now' }),
    // @ts-expect-error An unknown type.
    new Feed({ ...server, types: ['call.rang'] }),
    // @ts-expect-error An invalid start.
    new Feed({ ...server, after: 'yesterday' }),
  ];
}
