// Five calls with the functions of orval, each answer checked by its zod schema. Ids are strings: a number of JavaScript is
// exact only up to 2^53.

import assert from 'node:assert/strict';

import { getCall, listCalls, listEvents, placeCall } from './client/fetch.js';
import { GetCallResponse, ListCallsResponse, ListEventsResponse, PlaceCallBody } from './client/zod.js';

const { CTI_API_KEY, CTI_CALL, CTI_USER } = process.env as Record<string, string>;
const headers = { 'x-api-key': CTI_API_KEY! };
const ids = 'string';

const listed = ListCallsResponse.parse((await listCalls({ limit: 500, ids }, { headers })).data);
const wanted = listed.find((call) => call.call_id === CTI_CALL)!;
const call = GetCallResponse.parse((await getCall(wanted.id, { ids }, { headers })).data);
assert.deepEqual([call.call_id, call.outcome], [CTI_CALL, 'answered']);
const events = ListEventsResponse.parse((await listEvents({ after: 0, limit: 1000, ids }, { headers })).data);
assert.ok(events.some((event) => event.type === 'call.ring' && event.call_id === CTI_CALL));
const order = PlaceCallBody.parse({ dialpad_user_id: CTI_USER, phone_number: '+14155551234' });
const placed = await placeCall(order, { ids }, { headers });
assert.equal(placed.status, 201, JSON.stringify(placed.data));
assert.equal(GetCallResponse.parse(placed.data).status, 'ringing');
const missing = await getCall('12', {}, { headers });
assert.equal(missing.status, 404);
assert.ok('code' in missing.data && missing.data.code === 'CALL_NOT_FOUND');
