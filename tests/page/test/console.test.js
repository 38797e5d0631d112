// Every page of the console in both color schemes, on a phone, with the keyboard, and without JavaScript.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Server } from '../../clients/node/support/server.js';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const skip = existsSync(executablePath) ? false : 'Chromium not found';
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic'];

let server;
let browser;
let app;
let failed;
before(async () => {
  if (skip) return;
  server = await Server.start();
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--no-first-run', ...quiet] });
  app = await server.createApp('A CRM with a rather long name, for narrow screens');
  const now = Math.floor(Date.now() / 1000);
  const call = { call_id: 4711, direction: 'inbound', from_number: '+14155550101', to_number: '+14155550102', dialpad_user_id: 555 };
  await server.webhooks(app, [
    { ...call, event_type: 'call.ring', timestamp: now - 60 },
    { ...call, event_type: 'call.started', timestamp: now - 50 },
  ]);
  await server.internal('POST', `/internal/apps/${app.app_id}/users/map`, { dialpad_user_id: 555, crm_user_id: 'agent-7' });
  failed = (await server.webhook(app, { event_type: 'call.ring' })).event_id;
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Signs in, and records console errors and requests to other hosts. */
async function signIn(options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const errors = [];
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('request', (request) => {
    const isOurs = request.url().startsWith(server.url) || request.url().startsWith('data:');
    if (!isOurs) errors.push(`a request to ${request.url()}`);
  });
  await page.goto(`${server.url}/console`);
  await page.fill('input[name=secret]', server.internalSecret);
  await page.keyboard.press('Enter');
  await page.waitForURL(`${server.url}/console`);
  return { context, page, errors };
}

const CONTROLS = 'a, button, input:not([type=hidden]), select, summary, textarea';

const pages = () => [
  '/console', `/console/apps/${app.app_id}`, `/console/apps/${app.app_id}/users`, '/console/journal', '/console/journal?status=failed', `/console/journal/${failed}`,
  '/console/calls', `/console/apps/${app.app_id}/calls/4711`, '/console/live', '/console/system', '/console/nothing',
];

for (const colorScheme of ['light', 'dark']) {
  for (const viewport of [{ width: 1280, height: 800 }, { width: 360, height: 740 }]) {
    test(`every page fits ${viewport.width} pixels in ${colorScheme} without an error`, { skip }, async () => {
      const { context, page, errors } = await signIn({ colorScheme, viewport });
      for (const path of pages()) {
        await page.goto(`${server.url}${path}`);
        assert.equal(await page.locator('h1').count(), 1, path);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(overflow <= 0, `${path} is ${overflow} pixels too wide`);
        const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        const isDark = background.match(/\d+/g).every((channel) => Number(channel) < 128);
        assert.equal(isDark, colorScheme === 'dark', `${path}: ${background}`);
      }
      // The page that is not there is answered 404, which the browser reports.
      assert.deepEqual(errors.filter((error) => !error.includes('404')), []);
      await context.close();
    });
  }
}

test('the keyboard reaches the content and every control, and shows where it is', { skip }, async () => {
  const { context, page } = await signIn();
  for (const path of pages()) {
    await page.goto(`${server.url}${path}`);
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content', path);
    const controls = await page.locator(CONTROLS).count();
    const reached = new Set();
    for (let step = 0; step < 3 * controls + 20; step += 1) {
      const focus = await page.evaluate(() => {
        const element = document.activeElement;
        const all = [...document.querySelectorAll('a, button, input, select, summary, textarea')];
        return { index: all.indexOf(element), outline: getComputedStyle(element).outlineStyle };
      });
      if (focus.index >= 0) {
        reached.add(focus.index);
        assert.notEqual(focus.outline, 'none', `${path}: the focus is not visible`);
      }
      await page.keyboard.press('Tab');
    }
    const expected = await page.evaluate(() => {
      const all = [...document.querySelectorAll('a, button, input, select, summary, textarea')];
      return all.filter((element) => element.checkVisibility() && element.type !== 'hidden').length;
    });
    assert.equal(reached.size, expected, path);
  }
  await context.close();
});

test('every field has a label, and every table a caption and headers', { skip }, async () => {
  const { context, page } = await signIn();
  for (const path of pages()) {
    await page.goto(`${server.url}${path}`);
    const unnamed = await page.evaluate(() => {
      const fields = [...document.querySelectorAll('input:not([type=hidden]), select, textarea')];
      const tables = [...document.querySelectorAll('table')];
      return [
        ...fields.filter((field) => field.labels.length === 0).map((field) => field.outerHTML),
        ...tables.filter((table) => !table.caption || !table.querySelector('th[scope]')).map((table) => table.outerHTML),
      ];
    });
    assert.deepEqual(unnamed, [], path);
  }
  await context.close();
});

for (const colorScheme of ['light', 'dark']) {
  test(`no page breaks a rule of accessibility in ${colorScheme}`, { skip }, async () => {
    const { context, page } = await signIn({ colorScheme });
    for (const path of [...pages(), '/console/sign-in']) {
      if (path === '/console/sign-in') await context.clearCookies();
      await page.goto(`${server.url}${path}`);
      // What is closed is checked as well.
      await page.evaluate(() => document.querySelectorAll('details').forEach((details) => (details.open = true)));
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run());
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' | ')}`);
      assert.deepEqual(found, [], path);
    }
    await context.close();
  });
}

test('nothing moves while a page loads or updates itself', { skip }, async () => {
  const { context, page } = await signIn();
  await context.addInitScript(() => {
    window.shifts = [];
    const observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts.push(entry.value);
    });
    observer.observe({ type: 'layout-shift', buffered: true });
  });
  for (const path of pages()) {
    await page.goto(`${server.url}${path}`);
    if (path === '/console/live') {
      const ring = { event_type: 'call.ring', call_id: 9000, direction: 'inbound', timestamp: Math.floor(Date.now() / 1000) };
      await server.webhook(app, ring);
      await page.waitForSelector('a:text-is("9000")');
    }
    const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    await page.evaluate(frames);
    assert.deepEqual(await page.evaluate(() => window.shifts), [], path);
  }
  await context.close();
});

test('with the keyboard alone a user is mapped, and the mapping is deleted', { skip }, async () => {
  const { context, page } = await signIn();
  await page.goto(`${server.url}/console/apps/${app.app_id}/users`);
  const focus = async (selector) => {
    for (let step = 0; step < 60; step += 1) {
      if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
      await page.keyboard.press('Tab');
    }
    assert.fail(`${selector} is not reached`);
  };
  await focus('#dialpad');
  await page.keyboard.type('777');
  await page.keyboard.press('Tab');
  await page.keyboard.type('agent-777');
  await page.keyboard.press('Enter');
  await page.waitForSelector('text=1 user is mapped');
  await focus('summary');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Delete 777…');
  await page.keyboard.press('Enter');
  await focus('details[open] button');
  await page.keyboard.press('Enter');
  await page.waitForSelector('text=The mapping is deleted');
  await context.close();
});

test('the live page runs the timers, shows new events by itself, and leads to the sign-in when the session is over', { skip }, async () => {
  const { context, page } = await signIn();
  await page.goto(`${server.url}/console/live`);
  const timer = page.locator('.timer').first();
  const before = await timer.textContent();
  await page.waitForFunction((text) => document.querySelector('.timer').textContent !== text, before);
  const message = { event_type: 'call.ring', call_id: 4712, direction: 'inbound', timestamp: Math.floor(Date.now() / 1000) };
  await server.webhook(app, message);
  await page.waitForSelector('a:text-is("4712")');
  await context.clearCookies();
  await page.waitForURL(/sign-in/);
  await context.close();
});

test('the live page goes on while the keyboard is in a list, and says when it can not be updated', { skip }, async () => {
  const { context, page } = await signIn();
  // Five minutes ahead of the server.
  await context.addInitScript(() => {
    const now = Date.now;
    Date.now = () => now() + 300_000;
  });
  await page.goto(`${server.url}/console/live`);
  const list = '.scroll[aria-label^="Active calls"]';
  await page.focus(list);
  const ring = { event_type: 'call.ring', call_id: 4713, direction: 'inbound', timestamp: Math.floor(Date.now() / 1000) };
  await server.webhook(app, ring);
  await page.waitForSelector('a:text-is("4713")');
  assert.ok(await page.evaluate((selector) => document.activeElement.matches(selector), list), 'the list keeps the focus');
  const timer = page.locator('tr:has(a:text-is("4713")) .timer');
  assert.match(await timer.textContent(), /^0:/, 'the clock of the browser does not matter');

  await page.route('**/console/live/now*', (route) => route.fulfill({ status: 502, body: 'Bad Gateway' }));
  await page.waitForSelector('[data-refresh].stale');
  const stopped = await timer.textContent();
  // Another round: in between, a timer that runs would have changed.
  await page.waitForResponse(/live\/now/);
  assert.equal(await timer.textContent(), stopped, 'no timer runs on what is old');
  await page.unroute('**/console/live/now*');
  await page.waitForSelector('[data-refresh]:not(.stale)');
  await context.close();
});

test('a failed webhook is found and replayed with two clicks from the first page', { skip }, async () => {
  const { context, page } = await signIn();
  await page.click('a:has-text("failed webhooks")');
  await page.click('button:text-is("Replay")');
  await page.waitForURL(`${server.url}/console/journal/${failed}?replayed=true`);
  assert.ok((await page.locator('main').textContent()).includes('failed again'), 'its payload still can not be read');
  await context.close();
});

test('without JavaScript a person signs in, creates an app, and signs out', { skip }, async () => {
  const { context, page } = await signIn({ javaScriptEnabled: false });
  await page.fill('input[name=name]', 'Made without a script');
  await page.click('button:text-is("Create")');
  await page.waitForSelector('h1:has-text("Made without a script")');
  await page.click('button:text-is("Sign out")');
  await page.goto(`${server.url}/console/live`);
  await page.waitForURL(/sign-in/);
  await context.close();
});
