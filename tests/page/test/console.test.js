// Every page of the console in both color schemes, on a phone, with the keyboard, and without JavaScript.

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
let app;
before(async () => {
  if (skip) return;
  server = await Server.start();
  browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--no-first-run', ...quiet] });
  const authorization = `Bearer ${server.internalSecret}`;
  const created = await fetch(`${server.url}/internal/apps`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'A CRM with a rather long name, for narrow screens' }),
  });
  app = (await created.json()).app_id;
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

const pages = () => [
  '/console', `/console/apps/${app}`, '/console/journal', '/console/journal?status=failed', '/console/calls',
  '/console/live', '/console/system',
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
      assert.deepEqual(errors, []);
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
    const controls = await page.locator('a, button, input:not([type=hidden]), select, summary').count();
    const reached = new Set();
    for (let step = 0; step < 3 * controls + 20; step += 1) {
      const focus = await page.evaluate(() => {
        const element = document.activeElement;
        const all = [...document.querySelectorAll('a, button, input, select, summary')];
        return { index: all.indexOf(element), outline: getComputedStyle(element).outlineStyle };
      });
      if (focus.index >= 0) {
        reached.add(focus.index);
        assert.notEqual(focus.outline, 'none', `${path}: the focus is not visible`);
      }
      await page.keyboard.press('Tab');
    }
    const expected = await page.evaluate(() => {
      const all = [...document.querySelectorAll('a, button, input, select, summary')];
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
      const fields = [...document.querySelectorAll('input:not([type=hidden]), select')];
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
