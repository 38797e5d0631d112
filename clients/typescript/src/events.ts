/**
 * What a CRM is told, typed. To add a type of event: an interface, a line in `CtiEvent`, its name in `EVENT_TYPES`.
 *
 * Fields that a newer server adds are there at run time; words that it adds are texts like any other.
 */

/** An id of Dialpad's: a number of up to 64 bits, as text because numbers here end at 2^53. */
export type DialpadId = string;

/** An instant as RFC 3339. */
export type Instant = string;

export type Direction = 'inbound' | 'outbound';
export type Status = 'ringing' | 'active' | 'held' | 'ended';
export type Outcome = 'answered' | 'missed' | 'voicemail' | 'rejected' | 'abandoned';
export type Leg = 'user' | 'group' | 'direct';

interface Told<Type extends string> {
  type: Type;
  /** Its place in the app's feed: 1, 2, 3 … without holes. */
  seq: number;
  /** The same however often it comes. */
  event_id: string;
  app_id: string;
  /** The instant of what caused it, in unix seconds. */
  timestamp: number;
}

/** What is said of a call wherever it is told of. */
export interface CallFacts {
  /** Dialpad's id of the call, under both its names. */
  call_id: DialpadId;
  dialpad_call_id: DialpadId;
  /** The human call that it is a leg of. */
  interaction_id: string;
  leg: Leg | null;
  direction: Direction | null;
  from_number: string | null;
  to_number: string | null;
  dialpad_user_id: DialpadId | null;
  /** The same person in the CRM. */
  crm_user_id: string | null;
  status: Status | null;
}

interface OfCall<Type extends string> extends Told<Type>, CallFacts {
  /** `repaired`: webhooks had been missing, and the server asked Dialpad. */
  source?: string;
  /** It is a guess: nothing was heard of the call for too long. */
  inferred?: boolean;
}

interface End {
  ended_at: Instant | null;
  duration_seconds: number | null;
  talk_seconds: number | null;
  hold_seconds: number | null;
  recording_url: string | null;
  outcome: Outcome | null;
  /** Somebody else took the call. */
  answered_elsewhere: boolean;
}

/** A call is on its way to a person. */
export interface CallRing extends OfCall<'call.ring'> {
  ringing_at: Instant | null;
}

/** A person answered. */
export interface CallStarted extends OfCall<'call.started'> {
  started_at: Instant | null;
  recording_url: string | null;
}

/** One side waits. */
export interface CallHeld extends OfCall<'call.held'> {
  held_at: Instant;
}

/** The hold is over. */
export interface CallResumed extends OfCall<'call.resumed'> {
  resumed_at: Instant;
}

/** The call is over. */
export interface CallEnded extends OfCall<'call.ended'>, End {}

/** Something became known, the status stayed. */
export interface CallUpdated extends OfCall<'call.updated'>, End {
  /** Which fields became others. */
  changed: string[];
  ringing_at: Instant | null;
  started_at: Instant | null;
}

/** Dialpad said what has no name. */
export interface CallRaw extends OfCall<'call.raw'> {
  /** Dialpad's word for it. */
  state: string;
  /** All that it said. */
  payload: unknown;
}

interface OfVoicemail<Type extends string> extends OfCall<Type> {
  voicemail_id: string;
  dialpad_voicemail_id: DialpadId | null;
  recording_url: string | null;
  transcript: string | null;
  duration_seconds: number | null;
}

/** There is a voicemail. */
export interface VoicemailReceived extends OfVoicemail<'voicemail.received'> {}

/** Its audio or its words came. */
export interface VoicemailUpdated extends OfVoicemail<'voicemail.updated'> {}

interface OfMessage<Type extends string> extends Told<Type> {
  message_id: string;
  dialpad_message_id: DialpadId;
  direction: Direction | null;
  from_number: string | null;
  /** With commas between where there are several. */
  to_number: string | null;
  to_numbers: string[];
  dialpad_user_id: DialpadId | null;
  crm_user_id: string | null;
  /** Null where the connection's scopes do not include the content. */
  text: string | null;
  mms_url: string | null;
  /** Dialpad's word for how far it got. */
  message_status: string | null;
  sent_at: Instant;
}

/** Somebody wrote to the company. */
export interface MessageReceived extends OfMessage<'message.received'> {}

/** The company wrote to somebody. */
export interface MessageSent extends OfMessage<'message.sent'> {}

/** The status of a text message, or anything else of it, became another. */
export interface MessageUpdated extends OfMessage<'message.updated'> {}

interface OfConnection<Type extends string> extends Told<Type> {
  environment: 'sandbox' | 'production';
  dialpad_org_id: DialpadId | null;
}

/** Somebody has connected the app to Dialpad. */
export interface ConnectionConnected extends OfConnection<'connection.connected'> {}

/** Its tokens could not be renewed; may heal by itself. */
export interface ConnectionDegraded extends OfConnection<'connection.degraded'> {}

/** They could again. */
export interface ConnectionRecovered extends OfConnection<'connection.recovered'> {}

/** They are dead: somebody must authorize the app again. */
export interface ConnectionExpired extends OfConnection<'connection.expired'> {
  code: 'TOKENS_EXPIRED';
}

/** Somebody has disconnected the app. */
export interface ConnectionDisconnected extends OfConnection<'connection.disconnected'> {}

/** A type that this version does not know. */
export interface UnknownEvent extends Told<'unknown'> {
  /** Its own type. */
  unknown_type: string;
  /** All of it as it came. */
  raw: Record<string, unknown>;
}

/** One event of the feed. A `switch` over its `type` knows the fields of each. */
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

/** Each of them once: the compiler sees that none is missing. */
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

/** Events that are not to be had: set yourself right from `GET /api/calls?since=…`. */
export interface Gap {
  type: 'gap';
  /** `expired`: no longer kept. `cursor_ahead`: the feed ends before your cursor, as after a restored backup. */
  reason: string;
  /** The first and the last one that is missing. */
  from_seq: number;
  to_seq: number;
  oldest_seq: number;
  /** The newest event. */
  seq: number;
}
