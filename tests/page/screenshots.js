// Makes the pictures of docs/console.md: `npm run screenshots`, with the demo of the newest build.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { eventually } from '../clients/node/support/eventually.js';
import { Process } from '../clients/node/support/process.js';

const images = fileURLToPath(new URL('../../docs/images/', import.meta.url));
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';

const folder = await mkdtemp(join(tmpdir(), 'cti-demo-'));
const demo = new Process(['demo', '--rate', '5'], { cwd: folder, env: {} });
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--no-first-run'] });
try {
  const [address] = await demo.waitForLine(/http:\/\/\S+\/console\/sign-in\?token=\S+/);
  const { origin } = new URL(address);
  const context = await browser.newContext({ viewport: { width: 1100, height: 700 } });
  const page = await context.newPage();
  await page.goto(address);
  const shoot = (name, options = {}) => page.screenshot({ path: `${images}${name}.png`, ...options });

  // A call of several legs, and a minute of traffic for the plots.
  const call = await eventually('a call of several legs', async () => {
    await page.goto(`${origin}/console/calls?status=ended`);
    const rows = await page.locator('tbody tr').evaluateAll((rows) =>
      rows.map((row) => ({ legs: Number(row.lastElementChild.textContent), href: row.querySelector('a')?.href })));
    return rows.find(({ legs }) => legs > 1)?.href;
  }, 120_000);
  await page.goto(call);
  await shoot('console-call');
  await page.goto(`${origin}/console/live`);
  const points = () => page.locator('polyline.first').first().evaluate((line) => line.getAttribute('points').split(' ').length);
  await eventually('a line', async () => (await points()) > 30, 120_000);
  await page.emulateMedia({ colorScheme: 'dark' });
  await shoot('console-live');
} finally {
  await browser.close();
  await demo.kill();
  await rm(folder, { recursive: true, force: true });
}
