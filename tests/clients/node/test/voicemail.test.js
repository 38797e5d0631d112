// A voicemail becomes an activity and a task to call back.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { CALLER, Call } from '../support/call.js';
import { Crm } from '../support/crm.js';
import { eventually } from '../support/eventually.js';
import { Server } from '../support/server.js';
import { connected, open } from '../support/socket.js';

let server;
before(async () => (server = await Server.start()));
after(async () => server.stop());

test('a voicemail is recorded with its transcript', async () => {
  const app = await server.createApp();
  const crm = new Crm();

  function handleVoicemail(event) {
    const { call_id, from_number, to_number, recording_url, transcript, duration_seconds } = event;
    const contact = crm.findContactByPhone(from_number);
    const activity = crm.createActivity({
      type: 'voicemail',
      contact_id: contact.id,
      call_id,
      from_number,
      to_number,
      recording_url,
      transcript,
      duration_seconds,
      received_at: new Date(event.timestamp * 1000),
    });
    crm.createTask({
      title: `Call back ${contact.name}`,
      description: `Voicemail: "${transcript.substring(0, 100)}"`,
      related_activity_id: activity.id,
    });
  }

  const opened = open(`${server.wsUrl}/ws`, { headers: { 'x-api-key': app.api_key } });
  opened.ws.on('message', (data) => {
    const event = JSON.parse(data);
    if (event.type === 'voicemail.received') handleVoicemail(event);
  });
  await connected(opened);
  const call = new Call(9876543210);
  await server.webhooks(app, [call.ring(), call.voicemail()]);
  await eventually('the task is created', () => crm.tasks.length > 0);
  opened.ws.close();

  const [activity] = crm.activities;
  assert.equal(activity.from_number, CALLER);
  assert.equal(activity.duration_seconds, 28);
  assert.equal(activity.recording_url, 'https://dialpad.com/api/v2/recordings/call123/download');
  assert.equal(activity.received_at.toISOString(), '2024-01-01T12:01:00.000Z');
  assert.match(crm.tasks[0].description, /^Voicemail: "Hi, this is John/);

  const [listed] = await (await server.get(app, '/api/voicemails')).json();
  assert.deepEqual([listed.call_id, listed.duration_seconds], [9876543210, 28]);
  const shown = await (await server.get(app, '/api/calls/9876543210')).json();
  assert.deepEqual([shown.status, shown.outcome, shown.voicemail.duration_seconds], ['ended', 'voicemail', 28]);
});
