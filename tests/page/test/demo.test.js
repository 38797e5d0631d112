// The console of the demo, with the calls of the simulated Dialpad.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { chromium } from 'playwright-core';

import { eventually } from '../../clients/node/support/eventually.js';
import { Process } from '../../clients/node/support/process.js';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const skip = existsSync(executablePath) ? false : 'Chromium not found';
const python = spawnSync('python3', ['-c', 'import sqlite3']).status === 0;

// Makes the newest processed webhook one that was given up, as after three failed attempts. Prints how many there are.
const GIVE_UP = `
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=10)
newest = "SELECT max(id) FROM webhook_events WHERE status = 'processed' AND event_type = 'connected'"
with database:
    given_up = database.execute(f"UPDATE webhook_events SET status = 'failed', attempts = 3, reason = ? WHERE id = ({newest})", [sys.argv[2]])
print(given_up.rowcount)
`;
const REASON = 'given up after 3 attempts: the database refused the data';

/** Starts the demo in a folder of its own, and a browser. */
async function startDemo(t, ...options) {
  const folder = await mkdtemp(join(tmpdir(), 'cti-demo-'));
  const demo = new Process(['demo', '--rate', '2', ...options], { cwd: folder, env: {} });
  t.after(async () => {
    await demo.kill();
    await rm(folder, { recursive: true, force: true });
  });
  const [address] = await demo.waitForLine(/http:\/\/\S+\/console\/sign-in\?token=\S+/);
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--no-first-run'] });
  t.after(() => browser.close());
  return { page: await browser.newPage(), address, folder };
}

test('the demo opens signed in, and the recording of one of its calls is played', { skip, timeout: 180_000 }, async (t) => {
  const { page, address } = await startDemo(t);
  const errors = [];
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.goto(address);
  const { origin } = new URL(address);
  assert.equal(page.url(), `${origin}/console`);

  await page.goto(`${origin}/console/live`);
  await page.waitForSelector('svg polyline.first');
  const call = await eventually('a call with a recording', async () => {
    await page.goto(`${origin}/console/calls?status=ended`);
    const calls = await page.locator('tbody a').evaluateAll((links) => links.map((link) => link.href));
    for (const call of calls) {
      await page.goto(call);
      if (await page.locator('audio').count()) return call;
    }
    return null;
  }, 120_000);
  assert.ok(call);
  const seconds = await page.locator('audio').first().evaluate(async (audio) => {
    audio.muted = true;
    await audio.play();
    return audio.duration;
  });
  assert.ok(seconds > 0, `${seconds} s can be heard`);
  assert.ok((await page.locator('main').textContent()).includes('status: '), 'what its webhooks did is shown');
  assert.deepEqual(errors, []);
});

test('a failed webhook is found, understood and replayed in three clicks', { skip: skip || (python ? false : 'python3 not found'), timeout: 180_000 }, async (t) => {
  const { page, address, folder } = await startDemo(t, '--folder', 'demo');
  await eventually('a webhook that was given up', () => {
    const ended = spawnSync('python3', ['-c', GIVE_UP, join(folder, 'demo', 'cti.db'), REASON], { encoding: 'utf8' });
    assert.equal(ended.status, 0, ended.stderr);
    return ended.stdout.trim() === '1';
  }, 60_000);

  const began = Date.now();
  let clicks = 0;
  const click = async (locator) => {
    clicks += 1;
    await Promise.all([page.waitForNavigation(), locator.click()]);
  };
  const main = page.locator('main');
  await page.goto(address);
  await click(main.getByRole('link', { name: '1 failed webhook' }));
  assert.ok((await main.textContent()).includes(REASON), 'the list says why');
  await click(main.locator('tbody a').first());
  const shown = await main.textContent();
  assert.ok(shown.includes(REASON) && shown.includes('"connected"'), 'the page says why, and shows the payload');
  await click(main.getByRole('button', { name: 'Replay' }));
  await eventually('the webhook is processed', async () => {
    await page.reload();
    return (await main.locator('.badge').first().textContent()) === 'processed';
  });
  assert.ok(Date.now() - began < 60_000, 'it took less than a minute');
  assert.equal(clicks, 3);
  await page.goto(new URL('/console', address).href);
  assert.equal(await main.getByRole('link', { name: 'failed webhook' }).count(), 0, 'nothing needs attention any more');
});
