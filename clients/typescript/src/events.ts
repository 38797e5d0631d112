/**
 * The events, typed. To add an event type: an interface, a line in `CtiEvent`, its name in `KNOWN`.
 *
 * Fields and values that a newer server adds are present at run time.
 */

/** An id of Dialpad: an integer of up to 64 bits, as a string, because a number is exact only up to 2^53. */
export type DialpadId = string;

/** A time in RFC 3339. */
export type Instant = string;

export type Direction = 'inbound' | 'outbound';
export type Status = 'ringing' | 'active' | 'held' | 'ended';
export type Outcome = 'answered' | 'missed' | 'voicemail' | 'rejected' | 'abandoned';
export type Leg = 'user' | 'group' | 'direct';

interface EventBase<Type extends string> {
  type: Type;
  /** Its position in the app's feed: 1, 2, 3 … without holes. */
  seq: number;
  /** The same at every delivery. */
  event_id: string;
  app_id: string;
  /** When its cause happened, in Unix seconds. */
  timestamp: number;
}

/** The fields of a call in events and snapshots. */
export interface CallFacts {
  /** Dialpad's id of the call, under both names. */
  call_id: DialpadId;
  dialpad_call_id: DialpadId;
  /** The interaction that it is a leg of. Null if nothing is known of the call but a state without a type. */
  interaction_id: string | null;
  leg: Leg | null;
  direction: Direction | null;
  from_number: string | null;
  to_number: string | null;
  /** In E.164 form; null if it is no phone number. */
  from_e164: string | null;
  to_e164: string | null;
  /** The person on the other side. */
  contact_name: string | null;
  /** The user or group of the leg: a line, a department, a queue. */
  target_id: DialpadId | null;
  target_name: string | null;
  /** Both sides are in the company. */
  is_internal: boolean | null;
  callback_requested: boolean | null;
  /** What was passed when the call was placed, as it came. */
  custom_data: unknown;
  dialpad_user_id: DialpadId | null;
  /** The CRM's id of the Dialpad user. */
  crm_user_id: string | null;
  status: Status | null;
  /** The newest live state in Dialpad's own words (`ringing`, `queued`, `parked` …), where they are used. */
  dialpad_state: string | null;
}

interface CallEvent<Type extends string> extends EventBase<Type>, CallFacts {
  /** `repaired`: webhooks were missing, and the server asked Dialpad. */
  source?: string;
  /** The event is inferred, because there was no webhook about the call for too long. */
  inferred?: boolean;
}

/** A part of a call's recording. */
export interface Recording {
  id: DialpadId | null;
  url: string | null;
  /** In Dialpad's words: `callrecording` or `admincallrecording`. */
  type: string;
  duration_seconds: number | null;
  started_at: Instant | null;
}

interface CallEnd {
  ended_at: Instant | null;
  duration_seconds: number | null;
  talk_seconds: number | null;
  hold_seconds: number | null;
  recording_url: string | null;
  recordings: Recording[];
  outcome: Outcome | null;
  /** Another leg was answered instead. */
  answered_elsewhere: boolean;
}

/** A call is on its way to a person. */
export interface CallRing extends CallEvent<'call.ring'> {
  ringing_at: Instant | null;
}

/** A person answered the call. */
export interface CallStarted extends CallEvent<'call.started'> {
  started_at: Instant | null;
  recording_url: string | null;
}

/** The call is on hold. */
export interface CallHeld extends CallEvent<'call.held'> {
  held_at: Instant;
}

/** The hold ended. */
export interface CallResumed extends CallEvent<'call.resumed'> {
  resumed_at: Instant;
}

/** The call ended. */
export interface CallEnded extends CallEvent<'call.ended'>, CallEnd {}

/** Facts of the call changed, its status did not; or a presumed end is withdrawn. */
export interface CallUpdated extends CallEvent<'call.updated'>, CallEnd {
  /** The fields that changed. */
  changed: string[];
  ringing_at: Instant | null;
  started_at: Instant | null;
}

/** Dialpad reported something for which there is no type. */
export interface CallRaw extends CallEvent<'call.raw'> {
  /** Dialpad's state. */
  state: string;
  /** The whole payload. */
  payload: unknown;
}

interface VoicemailEvent<Type extends string> extends CallEvent<Type> {
  voicemail_id: string;
  dialpad_voicemail_id: DialpadId | null;
  recording_url: string | null;
  transcript: string | null;
  duration_seconds: number | null;
}

/** A voicemail was left. */
export interface VoicemailReceived extends VoicemailEvent<'voicemail.received'> {}

/** The audio or the transcript of a voicemail arrived. */
export interface VoicemailUpdated extends VoicemailEvent<'voicemail.updated'> {}

/** The voicemail of an interaction. */
export interface InteractionVoicemail {
  voicemail_id: string;
  dialpad_voicemail_id: DialpadId | null;
  recording_url: string | null;
  transcript: string | null;
  duration_seconds: number | null;
  received_at: Instant | null;
}

/** One part of a recording of an interaction. */
export interface InteractionRecording extends Recording {
  /** The leg that was recorded. */
  call_id: DialpadId;
}

interface InteractionEvent<Type extends string> extends EventBase<Type> {
  interaction_id: string;
  status: Status;
  /** The best outcome of its legs. */
  outcome: Outcome | null;
  direction: Direction | null;
  /** The number outside the company. */
  external_number: string | null;
  /** Whether every leg is within the company, as those of a consultation are. Null where no webhook said. */
  is_internal: boolean | null;
  /** The Dialpad user who answered first. */
  answered_by: DialpadId | null;
  answered_by_crm_user_id: string | null;
  started_at: Instant | null;
  answered_at: Instant | null;
  ended_at: Instant | null;
  duration_seconds: number | null;
  talk_seconds: number | null;
  hold_seconds: number | null;
  voicemail: InteractionVoicemail | null;
  recordings: InteractionRecording[];
  /** Dialpad's ids of the legs. */
  calls: DialpadId[];
}

/** A human call is over, with all its legs, and nothing more came for a while. */
export interface InteractionEnded extends InteractionEvent<'interaction.ended'> {}

/** Something became known of it after that. */
export interface InteractionUpdated extends InteractionEvent<'interaction.updated'> {
  /** The fields that changed. */
  changed: string[];
}

interface MessageEvent<Type extends string> extends EventBase<Type> {
  message_id: string;
  dialpad_message_id: DialpadId;
  direction: Direction | null;
  from_number: string | null;
  /** Several numbers are separated by commas. */
  to_number: string | null;
  to_numbers: string[];
  /** In E.164 form; several are separated by commas; null if there is no phone number. */
  from_e164: string | null;
  to_e164: string | null;
  dialpad_user_id: DialpadId | null;
  crm_user_id: string | null;
  /** Null where the connection's scopes do not include the content. */
  text: string | null;
  mms_url: string | null;
  media_urls: string[];
  /** Dialpad's delivery status. */
  message_status: string | null;
  /** Dialpad's result of the delivery. */
  message_delivery_result: string | null;
  sent_at: Instant;
}

/** The company received a text message. */
export interface MessageReceived extends MessageEvent<'message.received'> {}

/** The company sent a text message. */
export interface MessageSent extends MessageEvent<'message.sent'> {}

/** The status or another fact of a text message changed. */
export interface MessageUpdated extends MessageEvent<'message.updated'> {}

interface ConnectionEvent<Type extends string> extends EventBase<Type> {
  environment: 'sandbox' | 'production';
  dialpad_org_id: DialpadId | null;
}

/** The app was connected to Dialpad. */
export interface ConnectionConnected extends ConnectionEvent<'connection.connected'> {}

/** The app's tokens could not be refreshed; this may recover by itself. */
export interface ConnectionDegraded extends ConnectionEvent<'connection.degraded'> {
  code: 'TOKEN_REFRESH_FAILED';
  /** Why, for people. */
  reason: string;
}

/** The tokens could be refreshed again. */
export interface ConnectionRecovered extends ConnectionEvent<'connection.recovered'> {}

/** The tokens expired: the app must be authorized again. */
export interface ConnectionExpired extends ConnectionEvent<'connection.expired'> {
  code: 'TOKENS_EXPIRED';
}

/** The app was disconnected. */
export interface ConnectionDisconnected extends ConnectionEvent<'connection.disconnected'> {}

/** An event of a type that this version does not know. */
export interface UnknownEvent extends EventBase<'unknown'> {
  /** The server's type. */
  unknown_type: string;
  /** The event as it was received. */
  raw: Record<string, unknown>;
}

/** An event of the feed. A `switch` over its `type` narrows the fields. */
export type CtiEvent =
  | CallRing
  | CallStarted
  | CallHeld
  | CallResumed
  | CallEnded
  | CallUpdated
  | CallRaw
  | VoicemailReceived
  | VoicemailUpdated
  | InteractionEnded
  | InteractionUpdated
  | MessageReceived
  | MessageSent
  | MessageUpdated
  | ConnectionConnected
  | ConnectionDegraded
  | ConnectionRecovered
  | ConnectionExpired
  | ConnectionDisconnected
  | UnknownEvent;

/** The types that this version knows. */
export type EventType = Exclude<CtiEvent['type'], 'unknown'>;

/** Each type once: the compiler checks that none is missing. */
const KNOWN: Record<EventType, true> = {
  'call.ring': true,
  'call.started': true,
  'call.held': true,
  'call.resumed': true,
  'call.ended': true,
  'call.updated': true,
  'call.raw': true,
  'voicemail.received': true,
  'voicemail.updated': true,
  'interaction.ended': true,
  'interaction.updated': true,
  'message.received': true,
  'message.sent': true,
  'message.updated': true,
  'connection.connected': true,
  'connection.degraded': true,
  'connection.recovered': true,
  'connection.expired': true,
  'connection.disconnected': true,
};

export const EVENT_TYPES = Object.keys(KNOWN) as EventType[];

/** Events that are no longer available: catch up with `GET /api/calls?since=` `from_at`, and messages alike. */
export interface Gap {
  type: 'gap';
  /** `expired`: no longer stored. `cursor_ahead`: the feed ends before your cursor, for example after a restored backup. */
  reason: string;
  /** The epoch of the feed; absent if the server is older. */
  epoch?: string;
  /** The first and the last missing event. */
  from_seq: number;
  to_seq: number;
  oldest_seq: number;
  /** The newest event. */
  seq: number;
  /** The first missing event was emitted at this time or later; null or absent if the server does not know it. */
  from_at?: string | null;
  /** The last missing event was emitted at this time; null or absent if the server does not know it. */
  until_at?: string | null;
}

/**
 * The server's database was restored, or has lost events: the same `seq` may be another event by now. What you have may be
 * newer than what the server has, so read everything again: `GET /api/calls/active` and the lists of calls, messages and
 * voicemails. The feed continues with the events after `to_seq`, in the epoch `epoch`.
 */
export interface EpochChanged extends Omit<Gap, 'type'> {
  type: 'epoch_changed';
}
