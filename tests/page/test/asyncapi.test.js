// The AsyncAPI document against the official schema of the format.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';

import addFormats from 'ajv-formats';
import Ajv from 'ajv';

import { Server } from '../../clients/node/support/server.js';

const schema = createRequire(import.meta.url)('@asyncapi/specs/schemas/3.0.0-without-$id.json');

let server;
before(async () => (server = await Server.start()));
after(async () => server.stop());

test('/asyncapi.json is valid AsyncAPI 3.0', async () => {
  const ajv = new Ajv({ strict: false, allErrors: true });
  addFormats(ajv);
  const check = ajv.compile(schema);
  const document = await (await fetch(`${server.url}/asyncapi.json`)).json();
  assert.ok(check(document), JSON.stringify(check.errors?.slice(0, 5), null, 2));
  assert.ok(!check({ ...document, channels: { websocket: { address: 7 } } }), 'the schema check accepts an invalid document');
});
