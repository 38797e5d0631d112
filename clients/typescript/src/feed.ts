import { countFailure, DEFAULT_BACKOFF, delayMs } from './backoff.js';
import { MemoryCursor, type Cursor, type CursorStore } from './cursor.js';
import type { CtiEvent, EpochChanged, Gap } from './events.js';
import { cursorOf, read, type Message } from './message.js';
import { addressOf, check, type FeedOptions } from './options.js';
import { Queue } from './queue.js';
import { PartialSnapshot, type Snapshot } from './snapshot.js';
import { FeedError, isFinal } from './error.js';
import { Tracker } from './tracker.js';
import type { Connection, ConnectionEnd, Transport } from './transport.js';

/**
 * How many items may be queued. At this number the connection is not read any more; a connection that can't be paused is
 * closed, and resumed once there is room.
 */
const MAX_QUEUED = 256;
/** A connection without any frame for this long is dead: the server sends one at least every 20 seconds. */
const SILENCE_TIMEOUT_MS = 45_000;
/** How long the close handshake may take. */
const CLOSE_TIMEOUT_MS = 1_000;

/** An item of a feed; a snapshot only if it is requested. */
export type Item = CtiEvent | Gap | EpochChanged | Snapshot;

/** A change of the connection. */
export type Notice =
  /** The connection is open, and resumes after `after`; null: with new events. `seq` is the newest event. */
  | { type: 'connected'; after: number | null; seq: number }
  /** The connection broke, or could not be opened, and is retried. */
  | { type: 'disconnected'; reason: string; retryInMs: number }
  /**
   * A newer connection of the consumer took over, or the consumer was deleted. The feed ends and delivers nothing of its
   * queue: these events go to the newer connection. Processing of the current event may be aborted.
   */
  | { type: 'taken_over'; reason: string }
  /** The cursor after skipped events could not be saved; the next save tries again. */
  | { type: 'cursor_not_saved'; error: unknown };

/**
 * The events of an app in the order of their `seq`, each once, across broken connections.
 *
 * Iterate over it, or pass a callback to `each`. It starts when it is constructed, ends with `close`, and throws a
 * `FeedError` if a retry would not help.
 */
export class Feed implements AsyncIterable<Item> {
  readonly #options: FeedOptions;
  readonly #transport: Transport;
  readonly #cursor: CursorStore;
  readonly #queue = new Queue<Item>();
  readonly #tracker: Tracker;
  readonly #worker: Promise<void>;
  /** Saves run one after the other, so that an older cursor does not overtake a newer one. */
  #saving: Promise<void> = Promise.resolve();
  #saved: Cursor | null = null;
  /** The last acknowledgement of a consumer. */
  #acknowledged: Cursor | null = null;
  /** Whether the connection has said `connected`: before, the epoch of the feed is not known. */
  #knowsEpoch = false;
  #hasConnected = false;
  /** The parts of the snapshot that this connection starts with, until it is complete. */
  #snapshot: PartialSnapshot | null = null;
  #error: FeedError | null = null;
  #closed = false;
  #connection: Connection | null = null;
  #paused = false;
  /** Whether the connection was closed because it could not be paused: its further messages are received again. */
  #full = false;
  /** Wakes the worker, which waits for room or for the next attempt. */
  #wake: (() => void) | null = null;
  #waitsForRoom = false;

  constructor(options: FeedOptions, transport: Transport) {
    check(options);
    this.#options = options;
    this.#transport = transport;
    this.#cursor = options.consumer === undefined ? (options.cursor ?? new MemoryCursor()) : this.#serverCursor();
    this.#tracker = new Tracker(options.share ?? false);
    addressOf(options, null);
    this.#worker = this.#run();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    try {
      for (;;) {
        const item = await this.#queue.take();
        if (item === undefined) break;
        this.#makeRoom();
        if (item.type === 'epoch_changed') this.#tracker.changeTaken();
        yield item;
      }
      if (this.#error) throw this.#error;
    } finally {
      await this.close();
    }
  }

  /** Passes each item to the callback, and acknowledges it when the callback has ended. Ends with the feed. */
  async each(callback: (item: Item) => void | Promise<void>): Promise<void> {
    for await (const item of this) {
      await callback(item);
      await this.ack(item);
    }
  }

  /**
   * Acknowledges everything up to this item; resolves once the cursor is saved. One call can cover many items.
   */
  async ack(item: Item): Promise<void> {
    this.#tracker.ack(cursorOf(item));
    await this.#save();
  }

  /** Closes the connection. What was not acknowledged is delivered again. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#queue.clear();
    this.#queue.end();
    this.#wake?.();
    const connection = this.#connection;
    // A server that does not answer the close frame is abandoned.
    const timeout = setTimeout(() => connection?.terminate(), CLOSE_TIMEOUT_MS);
    connection?.resume();
    connection?.close();
    await this.#worker;
    clearTimeout(timeout);
    await this.#saving;
  }

  async #run(): Promise<void> {
    try {
      await this.#load();
      await this.#follow();
    } catch (error) {
      this.#error = error instanceof FeedError ? error : new FeedError(null, `the cursor can't be used: ${error}`, { cause: error });
      if (this.#error.isTakenOver) {
        this.#queue.clear();
        this.#options.onNotice?.({ type: 'taken_over', reason: this.#error.message });
      }
    }
    this.#queue.end();
  }

  async #load(): Promise<void> {
    const { after } = this.#options;
    if (after === 'now') return;
    if (after !== undefined) return this.#tracker.startAfter(cursorAt(after));
    const saved = await this.#cursor.load();
    if (saved === null) return;
    this.#saved = cursorAt(saved);
    this.#tracker.startAfter(this.#saved);
  }

  async #follow(): Promise<void> {
    const backoff = { ...DEFAULT_BACKOFF, ...this.#options.backoff };
    let failures = 0;
    for (;;) {
      // While the queue is full no connection is needed: the server would close it as too slow.
      this.#waitsForRoom = true;
      const room = this.#full ? MAX_QUEUED / 2 : MAX_QUEUED;
      while (this.#queue.length >= room && !this.#closed) await this.#waitUntilWoken();
      this.#waitsForRoom = false;
      if (this.#closed) return;
      const started = Date.now();
      const { code, reason, retryAfterMs } = await this.#connect();
      if (this.#closed) return;
      if (this.#full) {
        this.#options.onNotice?.({ type: 'disconnected', reason: 'the queue is full', retryInMs: 0 });
        continue;
      }
      if (code !== null && isFinal(code)) throw new FeedError(code, reason);
      failures = countFailure(backoff, failures, Date.now() - started);
      const retryInMs = Math.max(delayMs(backoff, failures, Math.random()), retryAfterMs ?? 0);
      this.#options.onNotice?.({ type: 'disconnected', reason, retryInMs });
      await this.#waitUntilWoken(retryInMs);
    }
  }

  /** Runs one connection until it ends. */
  async #connect(): Promise<ConnectionEnd> {
    const { after: start } = this.#options;
    const after = this.#tracker.resumeAfter ?? (start === undefined || start === 'now' ? null : cursorAt(start));
    const endpoint = { url: addressOf(this.#options, after), apiKey: this.#options.apiKey };
    // The parts of a broken connection belong to an older snapshot.
    this.#snapshot = this.#options.snapshot && after === null ? new PartialSnapshot() : null;
    let retryAfterMs: number | undefined;
    let failure: unknown = null;
    let silence: ReturnType<typeof setTimeout> | undefined;
    const end = await new Promise<ConnectionEnd>((resolve) => {
      const onActivity = () => {
        clearTimeout(silence);
        if (this.#transport.seesPings && !this.#paused) silence = setTimeout(() => connection.terminate(), SILENCE_TIMEOUT_MS);
      };
      const onMessage = (text: string) => {
        onActivity();
        if (failure !== null || this.#closed || this.#full) return;
        try {
          const message = read(text);
          if (message.kind === 'reconnect') retryAfterMs = message.afterMs;
          this.#handle(message, after).catch(fail);
        } catch (error) {
          // Perhaps a proxy. The connection is closed, and later messages are received again on the next one.
          fail(new Error(`unreadable message: ${(error as Error).message}`));
        }
      };
      const fail = (error: unknown) => {
        failure ??= error;
        connection.terminate();
      };
      const connection = this.#transport.open(endpoint, { onMessage, onActivity, onEnd: resolve });
      this.#knowsEpoch = false;
      this.#connection = connection;
      this.#paused = false;
      this.#full = false;
      onActivity();
    });
    clearTimeout(silence);
    this.#connection = null;
    if (failure instanceof FeedError) throw failure;
    const reason = failure instanceof Error ? failure.message : end.reason;
    const requestedMs = end.retryAfterMs ?? retryAfterMs;
    return { ...end, reason, ...(requestedMs === undefined ? {} : { retryAfterMs: requestedMs }) };
  }

  /** Handles a message. All state changes before the next message is handled; only saving the cursor is asynchronous. */
  async #handle(message: Message, after: Cursor | null): Promise<void> {
    switch (message.kind) {
      case 'connected':
        this.#options.onNotice?.({ type: 'connected', after: message.acked ?? after?.seq ?? null, seq: message.seq });
        // A feed with a snapshot starts once the snapshot is complete.
        if (this.#snapshot !== null) this.#tracker.beginSnapshot(message.epoch);
        else this.#tracker.connected(after, message.epoch, message.seq, message.acked, !this.#hasConnected);
        this.#knowsEpoch = true;
        this.#hasConnected = true;
        // The last acknowledgement may have been lost with the connection.
        this.#acknowledge();
        await this.#save().catch((error: unknown) => {
          throw new FeedError(null, `the cursor can't be saved: ${error}`, { cause: error });
        });
        break;
      case 'event':
        if (this.#tracker.deliver(message.event.seq)) {
          this.#push(message.event);
        } else if (this.#options.consumer !== undefined) {
          // Its acknowledgement was lost.
          await this.#save();
          this.#acknowledge();
        }
        break;
      case 'snapshot': {
        const snapshot = this.#snapshot?.add(message.part);
        if (!snapshot) break;
        this.#snapshot = null;
        this.#tracker.jumpTo(cursorOf(snapshot));
        this.#push(snapshot);
        break;
      }
      case 'gap':
        this.#tracker.jumpTo(cursorOf(message.gap));
        this.#push(message.gap);
        break;
      case 'epoch_changed':
        this.#tracker.changeEpoch(message.change.epoch ?? null, cursorOf(message.change));
        this.#push(message.change);
        break;
      case 'cursor':
        this.#tracker.skipTo(message.seq);
        await this.#save().catch((error: unknown) => this.#options.onNotice?.({ type: 'cursor_not_saved', error }));
        break;
      case 'reconnect':
      case 'unknown':
        break;
    }
  }

  #push(item: Item): void {
    this.#queue.push(item);
    if (this.#queue.length < MAX_QUEUED || this.#paused || this.#full) return;
    if (this.#transport.canPause) {
      this.#paused = true;
      this.#connection?.pause();
    } else {
      this.#full = true;
      this.#connection?.terminate();
    }
  }

  #makeRoom(): void {
    if (this.#queue.length >= MAX_QUEUED / 2) return;
    if (this.#paused) {
      this.#paused = false;
      this.#connection?.resume();
    }
    if (this.#waitsForRoom) this.#wake?.();
  }

  #serverCursor(): CursorStore {
    return {
      load: async () => null,
      save: async (cursor) => {
        this.#acknowledged = cursor;
        this.#acknowledge();
      },
    };
  }

  #acknowledge(): void {
    const acknowledged = this.#acknowledged;
    // One of another epoch is about other events.
    if (!this.#knowsEpoch || acknowledged === null || acknowledged.epoch !== this.#tracker.epoch) return;
    this.#connection?.send(JSON.stringify({ type: 'ack', seq: acknowledged.seq }));
  }

  async #save(): Promise<void> {
    const saved = this.#saving.then(async () => {
      const cursor = this.#tracker.acked;
      const saved = this.#saved;
      if (cursor === null || (cursor.seq === saved?.seq && cursor.epoch === saved.epoch)) return;
      await this.#cursor.save(cursor);
      this.#saved = cursor;
    });
    this.#saving = saved.catch(() => {});
    return saved;
  }

  /** Waits until it is woken, or for this time. */
  async #waitUntilWoken(ms?: number): Promise<void> {
    if (this.#closed) return;
    await new Promise<void>((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }
}

function cursorAt(after: Cursor | number): Cursor {
  return typeof after === 'number' ? { epoch: null, seq: after } : after;
}
