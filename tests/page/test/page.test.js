// The docs page with and without JavaScript, on a desktop and on a phone.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Server } from '../../clients/node/support/server.js';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const skip = existsSync(executablePath) ? false : 'Chromium not found';
const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic'];

let server;
let browser;
before(async () => {
  if (skip) return;
  server = await Server.start();
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--no-first-run', ...quiet] });
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Opens the page and records its console errors and its requests. */
async function open(path, options = {}) {
  const page = await browser.newPage(options);
  const observed = { errors: [], requests: [] };
  page.on('console', (message) => message.type() === 'error' && observed.errors.push(message.text()));
  page.on('pageerror', (error) => observed.errors.push(String(error)));
  page.on('request', (request) => observed.requests.push(request.url()));
  await page.goto(`${server.url}${path}`);
  if (options.javaScriptEnabled !== false) await page.waitForSelector('body[data-ready]');
  return { page, observed };
}

test('every route, event, error code and close code is shown, and nothing is loaded from another host', { skip }, async () => {
  const { page, observed } = await open('/docs');
  const api = await (await fetch(`${server.url}/openapi.json`)).json();
  const feed = await (await fetch(`${server.url}/asyncapi.json`)).json();
  for (const item of Object.values(api.paths)) {
    for (const operation of Object.values(item)) {
      assert.equal(await page.locator(`#op-${operation.operationId}`).count(), 1, operation.operationId);
    }
  }
  for (const code of api.components.schemas.ErrorCode.enum) {
    assert.equal(await page.locator(`#code-${code}`).count(), 1, code);
  }
  const text = await page.locator('#reference').textContent();
  for (const message of Object.values(feed.components.messages)) assert.ok(text.includes(message.name), message.name);
  for (const { code } of feed.channels.websocket['x-close-codes']) assert.ok(text.includes(String(code)), code);
  assert.ok(!text.includes('[object') && !text.includes('undefined'), 'a value is not rendered as text');
  assert.deepEqual(observed.errors, []);
  assert.deepEqual(observed.requests.filter((url) => !url.startsWith(server.url)), []);
  await page.close();
});

test('a fragment opens its operation, and the search filters the operations', { skip }, async () => {
  const { page } = await open('/docs#op-place_call');
  assert.equal(await page.locator('#op-place_call').evaluate((element) => element.open), true);
  assert.ok(await page.locator('#op-place_call').getByText('phone_number').first().isVisible());
  await page.fill('#search', 'idempotency_key_reused place');
  assert.ok(await page.locator('#op-place_call').isVisible());
  assert.ok(!(await page.locator('#op-list_calls').isVisible()));
  await page.fill('#search', '');
  assert.ok(await page.locator('#op-list_calls').isVisible());
  await page.close();
});

test('the page fits a phone, in light and dark mode', { skip }, async () => {
  const backgrounds = [];
  for (const colorScheme of ['light', 'dark']) {
    const { page } = await open('/docs#op-list_calls', { viewport: { width: 360, height: 740 }, colorScheme });
    const [contentWidth, windowWidth] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(contentWidth <= windowWidth, `${contentWidth} pixels on a screen of ${windowWidth}`);
    backgrounds.push(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    await page.close();
  }
  assert.notEqual(backgrounds[0], backgrounds[1]);
});

test('without JavaScript the page links to the documents', { skip }, async () => {
  const { page } = await open('/docs', { javaScriptEnabled: false });
  assert.ok(await page.locator('noscript p').isVisible());
  assert.ok(await page.getByText('Quick start').first().isVisible());
  await page.close();
});

test('a document that can not be loaded is reported', { skip }, async () => {
  const page = await browser.newPage();
  await page.route('**/asyncapi.json', (route) => route.fulfill({ status: 503, body: 'no' }));
  await page.goto(`${server.url}/docs`);
  await page.getByText('could not be shown').waitFor();
  await page.close();
});
