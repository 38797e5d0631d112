// Five calls with the client of openapi-generator for TypeScript (`typescript-fetch`). Ids are strings: a number of
// JavaScript is exact only up to 2^53.

import assert from 'node:assert/strict';

import { CallsApi, Configuration, EventFeedApi, ResponseError } from './client/index.js';

const { CTI_URL, CTI_API_KEY, CTI_CALL, CTI_USER } = process.env as Record<string, string>;
const configuration = new Configuration({ basePath: CTI_URL, apiKey: CTI_API_KEY });
const calls = new CallsApi(configuration);
const ids = 'string';

const listed = await calls.listCalls({ limit: 500, ids });
assert.ok(listed.some((call) => call.callId === CTI_CALL));
const wanted = listed.find((call) => call.callId === CTI_CALL)!;
const call = await calls.getCall({ id: wanted.id, ids });
assert.deepEqual([call.callId, call.outcome], [CTI_CALL, 'answered']);
const events = await new EventFeedApi(configuration).listEvents({ after: 0, limit: 1000, ids });
assert.ok(events.some((event) => event.type === 'call.ring' && event.callId === CTI_CALL));
const placed = await calls.placeCall({ callOrder: { dialpadUserId: CTI_USER!, phoneNumber: '+14155551234' }, ids });
assert.equal(placed.status, 'ringing');
await assert.rejects(calls.getCall({ id: 12 }), async (error: ResponseError) => {
  assert.equal(error.response.status, 404);
  assert.equal((await error.response.json()).code, 'CALL_NOT_FOUND');
  return true;
});
