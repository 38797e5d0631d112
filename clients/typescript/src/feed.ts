import { Backoff, DEFAULT_PACE } from './backoff.js';
import { MemoryCursor, type CursorStore } from './cursor.js';
import type { CtiEvent, Gap } from './events.js';
import { Ledger } from './ledger.js';
import { placeOf, read, type Message } from './message.js';
import { addressOf, check, type FeedOptions } from './options.js';
import { Queue } from './queue.js';
import { Share } from './share.js';
import { Pieces, type Snapshot } from './snapshot.js';
import { Stopped, stops } from './stopped.js';
import type { Connection, End, Transport } from './transport.js';

/**
 * How many events may wait to be taken. When so many do, the connection is not read either; where that can't be, it is
 * ended, and resumed behind them when there is room.
 */
const ROOM = 256;
/** A server gives a sign of life at least every 20 seconds. */
const SILENCE_MS = 45_000;
/** How long a server may take to say goodbye. */
const GOODBYE_WITHIN_MS = 1_000;

/** What comes out of a feed; a snapshot only where it was asked for. */
export type Item = CtiEvent | Gap | Snapshot;

/** What becomes of the connection. */
export type Notice =
  /** It stands, and resumes behind `after`; null: with what comes from now on. `seq` is the newest event. */
  | { type: 'connected'; after: number | null; seq: number }
  /** It broke, or could not be opened, and is tried again. */
  | { type: 'interrupted'; reason: string; backInMs: number }
  /**
   * A newer connection of the consumer took over, or the consumer was deleted. The feed ends, and gives out nothing more of
   * what it has: that is the newer one's. Whoever deals with an event just now may leave off.
   */
  | { type: 'taken_over'; reason: string }
  /** The cursor behind events that are not for us could not be kept; it is tried again with the next one. */
  | { type: 'not_kept'; error: unknown };

/**
 * The events of an app, in the order of their `seq`, each once, through broken connections.
 *
 * Iterate over it, or give `each` a callback. It begins when it is made, ends with `close`, and throws `Stopped` where
 * coming back would change nothing.
 */
export class Feed implements AsyncIterable<Item> {
  readonly #options: FeedOptions;
  readonly #transport: Transport;
  readonly #cursor: CursorStore;
  readonly #queue = new Queue<Item>();
  readonly #book: Ledger | Share;
  readonly #working: Promise<void>;
  /** Cursors are kept one after the other: an older one must not overtake. */
  #keeping: Promise<void> = Promise.resolve();
  #stored: number | null = null;
  /** What the server is to know of a consumer. */
  #acknowledged: number | null = null;
  #greeted = false;
  /** What has come of the snapshot that this connection begins with, until it is complete. */
  #pieces: Pieces | null = null;
  #stopped: Stopped | null = null;
  #closed = false;
  #connection: Connection | null = null;
  #paused = false;
  /** Whether the connection was ended because it could not be paused: what still comes over it comes again. */
  #full = false;
  /** Wakes whoever waits for room, or for the time to come back. */
  #wake: (() => void) | null = null;
  #waitsForRoom = false;

  constructor(options: FeedOptions, transport: Transport) {
    check(options);
    this.#options = options;
    this.#transport = transport;
    this.#cursor = options.consumer === undefined ? (options.cursor ?? new MemoryCursor()) : this.#serverCursor();
    this.#book = options.share ? new Share() : new Ledger();
    addressOf(options, null);
    this.#working = this.#work();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    try {
      for (;;) {
        const item = await this.#queue.take();
        if (item === undefined) break;
        this.#makeRoom();
        yield item;
      }
      if (this.#stopped) throw this.#stopped;
    } finally {
      await this.close();
    }
  }

  /** Gives each item to the callback, and takes it for done when that has ended. Ends with the feed. */
  async each(callback: (item: Item) => void | Promise<void>): Promise<void> {
    for await (const item of this) {
      await callback(item);
      await this.done(item);
    }
  }

  /**
   * Says that everything up to this item is dealt with, and resolves when that is kept. It need not be said of every
   * event: the last one of a batch is enough.
   */
  async done(item: Item): Promise<void> {
    this.#book.done(placeOf(item));
    await this.#keep();
  }

  /** Says goodbye to the server. What was not said to be done comes again with the next feed. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#queue.clear();
    this.#queue.end();
    this.#wake?.();
    const connection = this.#connection;
    // A server that does not answer the goodbye is none of our business any more.
    const patience = setTimeout(() => connection?.terminate(), GOODBYE_WITHIN_MS);
    connection?.resume();
    connection?.close();
    await this.#working;
    clearTimeout(patience);
    await this.#keeping;
  }

  async #work(): Promise<void> {
    try {
      await this.#recall();
      await this.#follow();
    } catch (error) {
      this.#stopped = error instanceof Stopped ? error : new Stopped(null, `the cursor can't be used: ${error}`, { cause: error });
      if (this.#stopped.isTakenOver) {
        this.#queue.clear();
        this.#options.onNotice?.({ type: 'taken_over', reason: this.#stopped.message });
      }
    }
    this.#queue.end();
  }

  async #recall(): Promise<void> {
    const { after } = this.#options;
    if (after === 'now') return;
    if (after !== undefined) return this.#book.begin(after);
    this.#stored = await this.#cursor.load();
    if (this.#stored !== null) this.#book.begin(this.#stored);
  }

  async #follow(): Promise<void> {
    const backoff = new Backoff({ ...DEFAULT_PACE, ...this.#options.pace });
    for (;;) {
      // A reader who takes nothing needs no connection: it would be closed for being slow.
      this.#waitsForRoom = true;
      const room = this.#full ? ROOM / 2 : ROOM;
      while (this.#queue.length >= room && !this.#closed) await this.#woken();
      this.#waitsForRoom = false;
      if (this.#closed) return;
      const began = Date.now();
      const { code, reason, retryAfterMs } = await this.#connect();
      if (this.#closed) return;
      if (this.#full) {
        this.#options.onNotice?.({ type: 'interrupted', reason: 'too many events wait to be taken', backInMs: 0 });
        continue;
      }
      if (code !== null && stops(code)) throw new Stopped(code, reason);
      const backInMs = Math.max(backoff.wait(Date.now() - began, Math.random()), retryAfterMs ?? 0);
      this.#options.onNotice?.({ type: 'interrupted', reason, backInMs });
      await this.#woken(backInMs);
    }
  }

  /** One connection, to its end. */
  async #connect(): Promise<End> {
    const { after: beginning } = this.#options;
    const after = this.#book.resumeAt ?? (typeof beginning === 'number' ? beginning : null);
    const door = { url: addressOf(this.#options, after), apiKey: this.#options.apiKey };
    // What had come of one on a broken connection is of another moment.
    this.#pieces = this.#options.snapshot && after === null ? new Pieces() : null;
    let retryAfterMs: number | undefined;
    let failure: unknown = null;
    let watch: ReturnType<typeof setTimeout> | undefined;
    const end = await new Promise<End>((resolve) => {
      const alive = () => {
        clearTimeout(watch);
        if (this.#transport.hearsPings && !this.#paused) watch = setTimeout(() => connection.terminate(), SILENCE_MS);
      };
      const said = (text: string) => {
        alive();
        if (failure !== null || this.#closed || this.#full) return;
        try {
          const message = read(text);
          if (message.kind === 'reconnect') retryAfterMs = message.afterMs;
          this.#take(message, after).catch(fail);
        } catch (error) {
          // A proxy, perhaps. Nothing behind it is taken; it comes again with the next connection.
          fail(new Error(`what came is no message: ${(error as Error).message}`));
        }
      };
      const fail = (error: unknown) => {
        failure ??= error;
        connection.terminate();
      };
      const connection = this.#transport.open(door, { said, alive, ended: resolve });
      this.#connection = connection;
      this.#paused = false;
      this.#full = false;
      alive();
    });
    clearTimeout(watch);
    this.#connection = null;
    if (failure instanceof Stopped) throw failure;
    const reason = failure instanceof Error ? failure.message : end.reason;
    const asked = end.retryAfterMs ?? retryAfterMs;
    return { ...end, reason, ...(asked === undefined ? {} : { retryAfterMs: asked }) };
  }

  /** What it changes is changed before the next message comes: only keeping the cursor takes its time. */
  async #take(message: Message, after: number | null): Promise<void> {
    switch (message.kind) {
      case 'connected':
        this.#options.onNotice?.({ type: 'connected', after: message.acked ?? after, seq: message.seq });
        // A feed that begins with a snapshot has begun when that is whole.
        if (this.#pieces === null) this.#book.connected(after, message.seq, message.acked, !this.#greeted);
        this.#greeted = true;
        // The last acknowledgement may have been lost with the connection.
        this.#acknowledge();
        await this.#keep().catch((error: unknown) => {
          throw new Stopped(null, `the cursor can't be kept: ${error}`, { cause: error });
        });
        break;
      case 'event':
        if (this.#book.give(message.event.seq)) {
          this.#push(message.event);
        } else if (this.#options.consumer !== undefined) {
          // Its acknowledgement was lost.
          await this.#keep();
          this.#acknowledge();
        }
        break;
      case 'snapshot': {
        const snapshot = this.#pieces?.add(message.piece);
        if (!snapshot) break;
        this.#pieces = null;
        this.#book.givePlace(placeOf(snapshot));
        this.#push(snapshot);
        break;
      }
      case 'gap':
        this.#book.givePlace(placeOf(message.gap));
        this.#push(message.gap);
        break;
      case 'cursor':
        this.#book.pass(message.seq);
        await this.#keep().catch((error: unknown) => this.#options.onNotice?.({ type: 'not_kept', error }));
        break;
      case 'reconnect':
      case 'unknown':
        break;
    }
  }

  #push(item: Item): void {
    this.#queue.push(item);
    if (this.#queue.length < ROOM || this.#paused || this.#full) return;
    if (this.#transport.canPause) {
      this.#paused = true;
      this.#connection?.pause();
    } else {
      this.#full = true;
      this.#connection?.terminate();
    }
  }

  #makeRoom(): void {
    if (this.#queue.length >= ROOM / 2) return;
    if (this.#paused) {
      this.#paused = false;
      this.#connection?.resume();
    }
    if (this.#waitsForRoom) this.#wake?.();
  }

  #serverCursor(): CursorStore {
    return {
      load: async () => null,
      save: async (seq) => {
        this.#acknowledged = seq;
        this.#acknowledge();
      },
    };
  }

  #acknowledge(): void {
    if (this.#acknowledged === null) return;
    this.#connection?.send(JSON.stringify({ type: 'ack', seq: this.#acknowledged }));
  }

  async #keep(): Promise<void> {
    const kept = this.#keeping.then(async () => {
      const seq = this.#book.kept;
      if (seq === null || seq === this.#stored) return;
      await this.#cursor.save(seq);
      this.#stored = seq;
    });
    this.#keeping = kept.catch(() => {});
    return kept;
  }

  /** Waits until it is woken, or for so long. */
  async #woken(ms?: number): Promise<void> {
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
