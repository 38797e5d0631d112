// The client is installed into another project as the README says.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const client = fileURLToPath(new URL('..', import.meta.url));

test('its package is installed, imported and typed', { timeout: 120_000 }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'cti-install-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  // `npm test` has built it already.
  const packed = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: client });
  const [{ filename, files }] = JSON.parse(packed.stdout);
  assert.deepEqual(files.map(({ path }) => path).filter((path) => !/^(dist\/|package\.json$|README\.md$)/.test(path)), []);
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'my-crm', private: true, type: 'module' }));
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', join(folder, filename)], { cwd: folder });
  const program = `import { Feed, FileCursor } from 'cti-client';
const feed = new Feed({ url: 'http://127.0.0.1:9', apiKey: 'raw_key', cursor: new FileCursor('crm.cursor') });
for await (const item of feed) if (item.type === 'call.ring') console.log(item.from_number satisfies string | null);
`;
  await writeFile(join(folder, 'crm.ts'), program);
  const tsc = join(client, 'node_modules', '.bin', 'tsc');
  await run(tsc, ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2022', 'crm.ts'], { cwd: folder });
  const imported = `const { Feed, FileCursor } = await import('cti-client'); console.log(typeof Feed, typeof FileCursor);`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', imported], { cwd: folder });
  assert.equal(stdout.trim(), 'function function');
});
