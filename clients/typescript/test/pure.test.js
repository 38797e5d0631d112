// What needs no connection: the ledger, the backoff, the messages, the address.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { countFailure, DEFAULT_BACKOFF, delayMs } from '../dist/backoff.js';
import { addressOf } from '../dist/options.js';
import { Ledger } from '../dist/ledger.js';
import { cursorOf, read } from '../dist/message.js';
import { EVENT_TYPES } from '../dist/node.js';
import { SharedLedger } from '../dist/shared-ledger.js';
import { isFinal } from '../dist/error.js';

function startingAfter(at) {
  const ledger = new Ledger();
  ledger.startAfter(at);
  return ledger;
}

test('received events are not acked until they are processed', () => {
  const ledger = startingAfter(4);
  assert.ok(ledger.deliver(5) && ledger.deliver(6));
  assert.deepEqual([ledger.resumeAfter, ledger.acked], [6, 4]);
  ledger.ack(5);
  assert.equal(ledger.acked, 5);
  ledger.ack(6);
  assert.equal(ledger.acked, 6);
});

test('no event is delivered twice, and acks do not move the cursor back', () => {
  const ledger = startingAfter(4);
  assert.ok(ledger.deliver(5) && ledger.deliver(6) && !ledger.deliver(5));
  ledger.ack(6);
  ledger.ack(5);
  ledger.ack(99);
  assert.equal(ledger.acked, 6);
});

test('skipped events are acked once everything before them is processed', () => {
  const ledger = startingAfter(4);
  ledger.skipTo(9);
  assert.equal(ledger.acked, 9);
  ledger.deliver(10);
  ledger.skipTo(20);
  assert.deepEqual([ledger.resumeAfter, ledger.acked], [20, 9]);
  ledger.ack(10);
  assert.equal(ledger.acked, 20);
});

test('a feed that ends before the cursor continues from its end', () => {
  const ledger = startingAfter(500);
  ledger.jumpTo(41);
  ledger.ack(500);
  assert.deepEqual([ledger.resumeAfter, ledger.acked], [41, null]);
  ledger.ack(41);
  assert.equal(ledger.acked, 41);
  assert.ok(ledger.deliver(42));
});

test('a snapshot is not acked until it is processed', () => {
  const ledger = new Ledger();
  ledger.jumpTo(41);
  ledger.skipTo(43);
  assert.deepEqual([ledger.resumeAfter, ledger.acked], [43, null]);
  ledger.ack(41);
  assert.equal(ledger.acked, 43);
});

test('of a shared consumer a processed prefix is acknowledged', () => {
  const ledger = new SharedLedger();
  assert.ok(ledger.deliver(9) && ledger.deliver(4) && ledger.deliver(12));
  assert.equal(ledger.acked, null);
  ledger.ack(4);
  assert.equal(ledger.acked, 4, 'in the order of delivery');
  ledger.connected();
  assert.ok(!ledger.deliver(4) && !ledger.deliver(12) && ledger.deliver(3));
  assert.equal(ledger.acked, 4);
  ledger.ack(3);
  assert.equal(ledger.acked, 3, '12 was delivered before 3');
});

test('each failure doubles the limit of the delay, up to half a minute', () => {
  const limits = Array.from({ length: 8 }, (_, index) => delayMs(DEFAULT_BACKOFF, index + 1, 1));
  assert.deepEqual(limits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  assert.equal(delayMs(DEFAULT_BACKOFF, 1, 0.5), 250);
});

test('only a connection of a minute resets the failures', () => {
  assert.equal(countFailure(DEFAULT_BACKOFF, 1, 59_999), 2);
  assert.equal(countFailure(DEFAULT_BACKOFF, 1, 60_000), 1);
});

test('only codes that a retry would not change are final', () => {
  for (const code of [308, 400, 401, 403, 404, 1002, 1009, 4400, 4401, 4403, 4409]) assert.ok(isFinal(code), `${code}`);
  for (const code of [408, 429, 500, 503, 1000, 1001, 1011, 4408, 4429]) assert.ok(!isFinal(code), `${code}`);
});

test('an event of an unknown type is kept as received', () => {
  const ring = read('{"type":"call.ring","seq":7,"event_id":"e","app_id":"a","call_id":"9"}');
  assert.deepEqual([ring.kind, ring.event.type, ring.event.call_id], ['event', 'call.ring', '9']);
  const { event } = read('{"type":"fax.received","seq":8,"event_id":"e","app_id":"a","timestamp":1,"pages":3}');
  assert.deepEqual([event.type, event.unknown_type, event.seq, event.raw.pages], ['unknown', 'fax.received', 8, 3]);
});

test('control messages are not events', () => {
  assert.deepEqual(read('{"type":"connected","seq":4,"oldest_seq":1}'), { kind: 'connected', epoch: null, seq: 4, acked: null });
  assert.deepEqual(read('{"type":"cursor","seq":9}'), { kind: 'cursor', seq: 9 });
  assert.deepEqual(read('{"type":"reconnect","after_ms":70}'), { kind: 'reconnect', afterMs: 70 });
  assert.deepEqual(read('{"type":"watermark","seq":9,"at":"2024-01-01T12:00:05.112Z"}'), { kind: 'cursor', seq: 9 });
  assert.deepEqual(read('{"type":"weather","sunny":true}'), { kind: 'unknown' });
  for (const text of ['<html>', 'null', '[]', '{}']) assert.throws(() => read(text), text);
});

test('a gap says where to resume', () => {
  const gap = (reason) => cursorOf({ type: 'gap', reason, from_seq: 3, to_seq: 8, oldest_seq: 9, seq: 5 });
  assert.deepEqual([gap('expired'), gap('cursor_ahead')], [8, 5]);
  assert.equal(cursorOf({ type: 'epoch_changed', reason: 'epoch_changed', from_seq: 1, to_seq: 5, oldest_seq: 1, seq: 6 }), 5);
});

test('every type of the documentation is known', async () => {
  const text = await readFile(new URL('../../../docs/api.md', import.meta.url), 'utf8');
  const section = text.slice(text.indexOf('### Events'), text.indexOf('### What is guaranteed'));
  const named = section.match(/(?<=`)(call|voicemail|message|interaction|connection)\.[a-z]+(?=`)/g);
  assert.deepEqual(new Set(named).size, EVENT_TYPES.length);
  assert.deepEqual(
    named.filter((type) => !EVENT_TYPES.includes(type)),
    [],
  );
});

test('the address of the socket has encoded parameters', () => {
  const address = (url, more = {}, after = null) => addressOf({ url, apiKey: 'k', ...more }, after);
  assert.equal(address('http://127.0.0.1:4000'), 'ws://127.0.0.1:4000/ws?ids=string');
  assert.equal(
    address('https://crm.example/cti/', { types: ['call.*', 'message.sent'], dialpadUserId: 555 }, { epoch: null, seq: 41 }),
    'wss://crm.example/cti/ws?ids=string&types=call.*%2Cmessage.sent&dialpad_user_id=555&after=41',
  );
  for (const url of ['crm', 'ftp://crm.example', 'https://me:pw@crm.example', 'https://crm.example?x=1']) {
    assert.throws(() => address(url), TypeError, url);
  }
});
