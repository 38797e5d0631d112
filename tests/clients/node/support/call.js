// The webhooks of a call that is answered, held, resumed and ended.

/** 2024-01-01T12:00:00Z. */
const NOON = 1_704_110_400;

export const CALLER = '+14155551234';
export const CALLED = '+14155555678';

export class Call {
  constructor(id, direction = 'inbound') {
    this.id = id;
    this.direction = direction;
  }

  event(eventType, second, fields = {}) {
    const [from, to] = this.direction === 'inbound' ? [CALLER, CALLED] : [CALLED, CALLER];
    return {
      event_type: eventType,
      call_id: this.id,
      direction: this.direction,
      from_number: from,
      to_number: to,
      dialpad_user_id: 555,
      timestamp: NOON + second,
      ...fields,
    };
  }

  ring() {
    return this.event('call.ring', 0);
  }

  started() {
    return this.event('call.started', 3);
  }

  held() {
    return this.event('call.held', 45);
  }

  resumed() {
    return this.event('call.resumed', 50);
  }

  ended() {
    return this.event('call.ended', 180);
  }

  life() {
    return [this.ring(), this.started(), this.held(), this.resumed(), this.ended()];
  }

  voicemail() {
    return this.event('voicemail.received', 60, {
      voicemail_id: 'vm_123456',
      recording_url: 'https://dialpad.com/api/v2/recordings/call123/download',
      transcript: 'Hi, this is John from Acme Corp. Please call me back at 555-0100. Thanks!',
      duration_seconds: 28,
    });
  }
}
