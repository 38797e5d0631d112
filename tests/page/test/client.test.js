// The TypeScript client in a real browser, against a real server that is killed and restarted.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { Call } from '../../clients/node/support/call.js';
import { eventually } from '../../clients/node/support/eventually.js';
import { Server } from '../../clients/node/support/server.js';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const skip = existsSync(executablePath) ? false : 'Chromium not found';
const client = fileURLToPath(new URL('../../../clients/typescript/', import.meta.url));

/** Builds the client and serves it, with a page, on an origin of its own. */
async function servePage(t) {
  execFileSync('npm', ['ci', '--silent'], { cwd: client });
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: client });
  const http = createServer(async (request, response) => {
    const name = /^\/([\w-]+\.js)$/.exec(request.url)?.[1];
    const source = name ? await readFile(`${client}dist/${name}`).catch(() => null) : null;
    if (source) response.setHeader('content-type', 'text/javascript');
    else response.setHeader('content-type', 'text/html');
    response.end(source ?? '<!doctype html><title>A CRM</title>');
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    http.closeAllConnections();
    http.close();
  });
  return `http://127.0.0.1:${http.address().port}/`;
}

test('the client follows in a browser through a kill of the server', { skip, timeout: 120_000 }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const app = await server.createApp();
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-quic'] });
  t.after(() => browser.close());
  const page = await browser.newPage();
  await page.goto(await servePage(t));
  await page.evaluate(
    async ({ url, apiKey }) => {
      const { Feed } = await import('/browser.js');
      window.received = [];
      window.notices = [];
      const onNotice = ({ type }) => window.notices.push(type);
      const feed = new Feed({ url, apiKey, after: 0, backoff: { initialMs: 20, maxMs: 100 }, onNotice });
      feed.each((item) => void window.received.push([item.seq, item.type, item.call_id])).catch((error) => {
        window.failure = { name: error.name, code: error.code };
      });
    },
    { url: server.url, apiKey: app.api_key },
  );
  const received = () => page.evaluate(() => window.received);
  const notices = () => page.evaluate(() => window.notices);

  await server.webhooks(app, new Call(1).life());
  await eventually('the first call', async () => (await received()).length === 5);
  await server.kill();
  // Refused handshakes, until the server is back.
  await eventually('three failures', async () => (await notices()).filter((type) => type === 'disconnected').length >= 3);
  await server.restart();
  await server.webhooks(app, new Call(2).life());
  await eventually('the second call', async () => (await received()).length === 10);
  const items = await received();
  assert.deepEqual(
    items.map(([seq]) => seq),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  assert.deepEqual([...new Set(items.map(([, , id]) => id))], ['1', '2'], 'ids are strings');

  await server.internal('POST', `/internal/apps/${app.app_id}/api-key/revoke`);
  const failure = await eventually('the feed has ended', () => page.evaluate(() => window.failure));
  assert.deepEqual(failure, { name: 'FeedError', code: 4403 });
});
