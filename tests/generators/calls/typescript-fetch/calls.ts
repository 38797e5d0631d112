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
const call = await calls.getCall({ id: CTI_CALL!, ids });
assert.deepEqual([call.callId, call.outcome], [CTI_CALL, 'answered']);
const events = await new EventFeedApi(configuration).listEvents({ after: 0, limit: 1000, ids });
assert.ok(events.some((event) => event.type === 'call.ring' && event.callId === CTI_CALL));
const placed = await calls.placeCall({ callOrder: { dialpadUserId: CTI_USER!, phoneNumber: '+14155551234' }, ids });
assert.equal(placed.status, 'ringing');
const error = await calls.getCall({ id: '12' }).catch((error: unknown) => error);
assert.ok(error instanceof ResponseError);
assert.deepEqual([error.response.status, (await error.response.json()).code], [404, 'CALL_NOT_FOUND']);
