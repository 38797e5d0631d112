// The console of the demo, with the calls of the simulated Dialpad.

import assert from 'node:assert/strict';
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

test('the demo opens signed in, and the recording of one of its calls is played', { skip, timeout: 180_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'cti-demo-'));
  const demo = new Process(['demo', '--rate', '2'], { cwd: folder, env: {} });
  t.after(async () => {
    await demo.kill();
    await rm(folder, { recursive: true, force: true });
  });
  const [address] = await demo.waitForLine(/http:\/\/\S+\/console\/sign-in\?token=\S+/);
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--no-first-run'] });
  t.after(() => browser.close());
  const page = await browser.newPage();
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
