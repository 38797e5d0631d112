/** What is the same on Node and in browsers. */

export { DEFAULT_PACE, type Pace } from './backoff.js';
export { MemoryCursor, type CursorStore } from './cursor.js';
export * from './events.js';
export type { Item, Notice } from './feed.js';
export { placeOf } from './message.js';
export type { FeedOptions } from './options.js';
export type { ActiveCall, Snapshot } from './snapshot.js';
export { Stopped } from './stopped.js';
