/** The exports that are the same on Node and in browsers. */

export { DEFAULT_BACKOFF, type Backoff } from './backoff.js';
export { formatCursor, MemoryCursor, parseCursor, type Cursor, type CursorStore } from './cursor.js';
export * from './events.js';
export type { Item, Notice } from './feed.js';
export { cursorOf } from './message.js';
export type { FeedOptions } from './options.js';
export type { ActiveCall, Snapshot } from './snapshot.js';
export { FeedError } from './error.js';
