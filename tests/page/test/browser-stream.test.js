// The browser example of docs/api.md in a page of another origin, in real Chromium.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Server } from '../../clients/node/support/server.js';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const skip = existsSync(executablePath) ? false : 'Chromium not found';
const page = readFileSync(new URL('../../../docs/api.md', import.meta.url), 'utf8');
const example = /<!-- example: browser -->\n```js\n(.*?)```/s.exec(page)[1];

let server;
let browser;
let site;
let origin;
before(async () => {
  if (skip) return;
  site = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end('<title>CRM</title>'));
  await new Promise((done) => site.listen(0, '127.0.0.1', done));
  origin = `http://127.0.0.1:${site.address().port}`;
  server = await Server.start({ CORS_ORIGINS: origin });
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--no-first-run'] });
});
after(async () => {
  await browser?.close();
  await server?.stop();
  site?.close();
});

test('a page of a listed origin follows the stream and uses the API', { skip }, async () => {
  const app = await server.createApp('CRM');
  const tab = await browser.newPage();
  await tab.goto(origin);
  await tab.evaluate(({ CTI, KEY, example }) => {
    window.heard = [];
    const run = new Function('CTI', 'KEY', 'handle', `${example}\nreturn follow();`);
    window.stream = run(CTI, KEY, (event) => window.heard.push(event));
  }, { CTI: server.url, KEY: app.api_key, example });
  await tab.waitForFunction(() => window.stream.readyState === EventSource.OPEN);
  await server.webhook(app, {
    event_type: 'call.ring', call_id: 7, direction: 'inbound', from_number: '+14155551234',
    to_number: '+14155555678', dialpad_user_id: 555, timestamp: 1704110400,
  });
  await tab.waitForFunction(() => window.heard.length === 1);
  assert.equal(await tab.evaluate(() => window.heard[0].type), 'call.ring');
  assert.equal(await tab.evaluate(() => localStorage.getItem('cti-cursor')), '1');

  // A request with a header of its own makes the browser ask first (preflight).
  const read = await tab.evaluate(async ({ CTI, KEY }) => {
    const answer = await fetch(`${CTI}/api/events?after=0`, { headers: { 'x-api-key': KEY } });
    return [answer.status, answer.headers.get('x-cursor'), (await answer.json()).length];
  }, { CTI: server.url, KEY: app.api_key });
  assert.deepEqual(read, [200, '1', 1]);
  const refused = await tab.evaluate(async (CTI) => {
    const answer = await fetch(`${CTI}/api/calls`, { headers: { 'x-api-key': 'raw_wrong' } });
    return [answer.status, (await answer.json()).code];
  }, server.url);
  assert.deepEqual(refused, [401, 'INVALID_API_KEY']);
  const hidden = await tab.evaluate(
    (CTI) => fetch(`${CTI}/status`).then(() => 'readable', () => 'hidden'), server.url);
  assert.equal(hidden, 'hidden');
  await tab.close();
});

test('a page of another origin reads nothing', { skip }, async () => {
  const app = await server.createApp('CRM');
  const tab = await browser.newPage();
  await tab.goto(origin.replace('127.0.0.1', 'localhost'));
  const seen = await tab.evaluate(({ CTI, KEY }) => new Promise((done) => {
    const stream = new EventSource(`${CTI}/api/events/stream?api_key=${KEY}`);
    stream.onopen = () => done('open');
    stream.onerror = () => done('hidden');
  }), { CTI: server.url, KEY: app.api_key });
  assert.equal(seen, 'hidden');
  await tab.close();
});
