// The real server behind TLS, as in production. Node reads its trusted certificates at its start, so a process of its own
// follows the feed.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createServer } from 'node:tls';

import selfsigned from 'selfsigned';

import { Call } from '../../../tests/clients/node/support/call.js';
import { eventually } from '../../../tests/clients/node/support/eventually.js';
import { Server, skipIfExternal } from '../../../tests/clients/node/support/server.js';

/** A certificate of this run, for this machine alone. */
const IDENTITY = selfsigned.generate([{ name: 'commonName', value: 'loopback' }], {
  keySize: 2048,
  algorithm: 'sha256',
  extensions: [
    { name: 'basicConstraints', cA: true },
    { name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] },
  ],
});
const FOLDER = await mkdtemp(join(tmpdir(), 'cti-tls-'));
const CERTIFICATE = join(FOLDER, 'certificate.pem');
await writeFile(CERTIFICATE, IDENTITY.cert);
after(() => rm(FOLDER, { recursive: true, force: true }));

const FOLLOW = `
  import { Feed } from ${JSON.stringify(new URL('../dist/node.js', import.meta.url).href)};
  const { URL_OF_SERVER: url, API_KEY: apiKey } = process.env;
  const onNotice = (notice) => notice.type === 'disconnected' && console.log(JSON.stringify(notice));
  await new Feed({ url, apiKey, after: 0, backoff: { initialMs: 50 }, onNotice }).each((item) => console.log(JSON.stringify(item)));
`;

/** Starts a TLS proxy in front of the server. */
async function proxy(t, server) {
  const backend = new URL(server.url);
  const tls = createServer({ key: IDENTITY.private, cert: IDENTITY.cert }, (near) => {
    const far = connect(Number(backend.port), backend.hostname);
    near.pipe(far).pipe(near);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ]) {
      one.on('error', () => other.destroy()).on('close', () => other.destroy());
    }
  });
  await new Promise((resolve) => tls.listen(0, '127.0.0.1', resolve));
  t.after(() => tls.close());
  return `https://127.0.0.1:${tls.address().port}`;
}

/** Follows the app's feed in a child process; returns a function that gives the items so far. */
function follow(t, url, app, trusted) {
  const env = { ...process.env, URL_OF_SERVER: url, API_KEY: app.api_key, ...trusted };
  const child = spawn(process.execPath, ['--input-type=module', '-e', FOLLOW], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  return () => output.split('\n').slice(0, -1).map((line) => JSON.parse(line));
}

test('an encrypted feed resumes when its server is restarted', { skip: skipIfExternal, timeout: 60_000 }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const app = await server.createApp();
  const received = follow(t, await proxy(t, server), app, { NODE_EXTRA_CA_CERTS: CERTIFICATE });
  const events = () => received().filter(({ type }) => type !== 'disconnected');
  await server.webhooks(app, new Call(1).life());
  await eventually('the first call is received', () => events().length >= 5);
  await server.kill();
  await server.restart();
  await server.webhooks(app, new Call(2).life());
  await eventually('the second call is received', () => events().length >= 10);
  assert.deepEqual(
    events().map(({ seq }) => seq),
    Array.from({ length: 10 }, (_, index) => index + 1),
  );
});

test('an untrusted certificate is refused', { skip: skipIfExternal, timeout: 60_000 }, async (t) => {
  const server = await Server.start();
  t.after(() => server.stop());
  const app = await server.createApp();
  const received = follow(t, await proxy(t, server), app, { NODE_EXTRA_CA_CERTS: '' });
  await eventually('the certificate is refused', () => received().length > 0);
  assert.match(received()[0].reason, /self.signed certificate/);
});
