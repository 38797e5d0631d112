// What needs no connection: the ledger, the waits, the messages, the address, the file.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { Backoff, DEFAULT_PACE } from '../dist/backoff.js';
import { addressOf } from '../dist/options.js';
import { Ledger } from '../dist/ledger.js';
import { placeOf, read } from '../dist/message.js';
import { EVENT_TYPES, FileCursor } from '../dist/node.js';
import { Share } from '../dist/share.js';
import { stops } from '../dist/stopped.js';

function behind(at) {
  const ledger = new Ledger();
  ledger.begin(at);
  return ledger;
}

test('what was heard and not dealt with is not kept', () => {
  const ledger = behind(4);
  assert.ok(ledger.give(5) && ledger.give(6));
  assert.deepEqual([ledger.resumeAt, ledger.kept], [6, 4]);
  ledger.done(5);
  assert.equal(ledger.kept, 5);
  ledger.done(6);
  assert.equal(ledger.kept, 6);
});

test('nothing is given out twice, and nothing done is taken back', () => {
  const ledger = behind(4);
  assert.ok(ledger.give(5) && ledger.give(6) && !ledger.give(5));
  ledger.done(6);
  ledger.done(5);
  ledger.done(99);
  assert.equal(ledger.kept, 6);
});

test('what is passed is kept once everything before it is dealt with', () => {
  const ledger = behind(4);
  ledger.pass(9);
  assert.equal(ledger.kept, 9);
  ledger.give(10);
  ledger.pass(20);
  assert.deepEqual([ledger.resumeAt, ledger.kept], [20, 9]);
  ledger.done(10);
  assert.equal(ledger.kept, 20);
});

test('a feed that ends before the cursor goes on from its end', () => {
  const ledger = behind(500);
  ledger.givePlace(41);
  ledger.done(500);
  assert.deepEqual([ledger.resumeAt, ledger.kept], [41, null]);
  ledger.done(41);
  assert.equal(ledger.kept, 41);
  assert.ok(ledger.give(42));
});

test('a snapshot is not kept until it is dealt with', () => {
  const ledger = new Ledger();
  ledger.givePlace(41);
  ledger.pass(43);
  assert.deepEqual([ledger.resumeAt, ledger.kept], [43, null]);
  ledger.done(41);
  assert.equal(ledger.kept, 43);
});

test('of a shared consumer, what is done is acknowledged from the front', () => {
  const share = new Share();
  assert.ok(share.give(9) && share.give(4) && share.give(12));
  assert.equal(share.kept, null);
  share.done(4);
  assert.equal(share.kept, 4, 'in the order in which they were given');
  share.connected();
  assert.ok(!share.give(4) && !share.give(12) && share.give(3));
  assert.equal(share.kept, 4);
  share.done(3);
  assert.equal(share.kept, 3, '12 was given out before 3');
});

test('each failure doubles the limit of the wait, up to half a minute', () => {
  const backoff = new Backoff(DEFAULT_PACE);
  const waits = Array.from({ length: 8 }, () => backoff.wait(0, 1));
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  assert.equal(new Backoff(DEFAULT_PACE).wait(0, 0.5), 250);
});

test('only a connection that stood a minute forgives', () => {
  const backoff = new Backoff(DEFAULT_PACE);
  backoff.wait(0, 1);
  assert.equal(backoff.wait(59_999, 1), 1000);
  assert.equal(backoff.wait(60_000, 1), 500);
});

test('only what coming back would not change stops', () => {
  for (const code of [308, 400, 401, 403, 404, 1002, 1009, 4400, 4401, 4403, 4409]) assert.ok(stops(code), `${code}`);
  for (const code of [408, 429, 500, 503, 1000, 1001, 1011, 4408, 4429]) assert.ok(!stops(code), `${code}`);
});

test('an event is an event, and a type that is new is kept as it came', () => {
  const ring = read('{"type":"call.ring","seq":7,"event_id":"e","app_id":"a","call_id":"9"}');
  assert.deepEqual([ring.kind, ring.event.type, ring.event.call_id], ['event', 'call.ring', '9']);
  const { event } = read('{"type":"fax.received","seq":8,"event_id":"e","app_id":"a","timestamp":1,"pages":3}');
  assert.deepEqual([event.type, event.unknown_type, event.seq, event.raw.pages], ['unknown', 'fax.received', 8, 3]);
});

test('what the server says of the connection is no event', () => {
  assert.deepEqual(read('{"type":"connected","seq":4,"oldest_seq":1}'), { kind: 'connected', seq: 4, acked: null });
  assert.deepEqual(read('{"type":"cursor","seq":9}'), { kind: 'cursor', seq: 9 });
  assert.deepEqual(read('{"type":"reconnect","after_ms":70}'), { kind: 'reconnect', afterMs: 70 });
  assert.deepEqual(read('{"type":"weather","sunny":true}'), { kind: 'unknown' });
  for (const text of ['<html>', 'null', '[]', '{}']) assert.throws(() => read(text), text);
});

test('a gap says where to go on', () => {
  const gap = (reason) => placeOf({ type: 'gap', reason, from_seq: 3, to_seq: 8, oldest_seq: 9, seq: 5 });
  assert.deepEqual([gap('expired'), gap('cursor_ahead')], [8, 5]);
});

test('every type of the documentation is known', async () => {
  const text = await readFile(new URL('../../../docs/api.md', import.meta.url), 'utf8');
  const section = text.slice(text.indexOf('### Events'), text.indexOf('### What is guaranteed'));
  const named = section.match(/(?<=`)(call|voicemail|message|connection)\.[a-z]+(?=`)/g);
  assert.deepEqual(new Set(named).size, EVENT_TYPES.length);
  assert.deepEqual(
    named.filter((type) => !EVENT_TYPES.includes(type)),
    [],
  );
});

test('the socket is where the server is, and wishes are encoded', () => {
  const address = (url, more = {}, after = null) => addressOf({ url, apiKey: 'k', ...more }, after);
  assert.equal(address('http://127.0.0.1:4000'), 'ws://127.0.0.1:4000/ws?ids=string');
  assert.equal(
    address('https://crm.example/cti/', { types: ['call.*', 'message.sent'], dialpadUserId: 555 }, 41),
    'wss://crm.example/cti/ws?ids=string&types=call.*%2Cmessage.sent&dialpad_user_id=555&after=41',
  );
  for (const url of ['crm', 'ftp://crm.example', 'https://me:pw@crm.example', 'https://crm.example?x=1']) {
    assert.throws(() => address(url), TypeError, url);
  }
});

test('a file keeps the cursor, and what is no cursor is not taken for none', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'cti-ts-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const cursor = new FileCursor(join(folder, 'crm.cursor'));
  assert.equal(await cursor.load(), null);
  for (const seq of [41, 7]) {
    await cursor.save(seq);
    assert.equal(await cursor.load(), seq);
  }
  assert.deepEqual(await readdir(folder), ['crm.cursor']);
  await writeFile(cursor.path, '4x1');
  await assert.rejects(cursor.load(), /crm\.cursor holds no cursor/);
});
