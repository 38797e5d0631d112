// Five calls with the types of openapi-typescript, and openapi-fetch. Ids are strings: a number of JavaScript is exact only up
// to 2^53.

import assert from 'node:assert/strict';

import createClient from 'openapi-fetch';

import type { paths } from './client/api.js';

const { CTI_URL, CTI_API_KEY, CTI_CALL, CTI_USER } = process.env as Record<string, string>;
const cti = createClient<paths>({ baseUrl: CTI_URL!, headers: { 'x-api-key': CTI_API_KEY! } });
const ids = 'string';

const listed = await cti.GET('/api/calls', { params: { query: { limit: 500, ids } } });
const wanted = listed.data?.find((call) => call.call_id === CTI_CALL);
assert.ok(wanted, JSON.stringify(listed.error));
const call = await cti.GET('/api/calls/{id}', { params: { path: { id: wanted.id }, query: { ids } } });
assert.deepEqual([call.data?.call_id, call.data?.outcome], [CTI_CALL, 'answered']);
const events = await cti.GET('/api/events', { params: { query: { after: 0, limit: 1000, ids } } });
assert.ok(events.data?.some((event) => event.type === 'call.ring' && event.call_id === CTI_CALL));
const body = { dialpad_user_id: CTI_USER!, phone_number: '+14155551234' };
const placed = await cti.POST('/api/calls', { params: { query: { ids } }, body });
assert.equal(placed.data?.status, 'ringing');
const missing = await cti.GET('/api/calls/{id}', { params: { path: { id: '12' } } });
assert.deepEqual([missing.response.status, missing.error?.code], [404, 'CALL_NOT_FOUND']);
