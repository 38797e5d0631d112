/** The progress of a feed, and the epoch of its numbers. */

import type { Cursor } from './cursor.js';
import { Ledger } from './ledger.js';
import { SharedLedger } from './shared-ledger.js';

export class Tracker {
  readonly #ledger: Ledger | SharedLedger;
  #epoch: string | null = null;
  /** Whether the caller has not received yet that the epoch changed: what it acknowledges is of the earlier one. */
  #changeIsQueued = false;

  constructor(share: boolean) {
    this.#ledger = share ? new SharedLedger() : new Ledger();
  }

  get epoch(): string | null {
    return this.#epoch;
  }

  /** Starts after this event, up to which everything is processed. */
  startAfter({ epoch, seq }: Cursor): void {
    this.#epoch = epoch;
    this.#ledger.startAfter(seq);
  }

  /**
   * Records a new connection that asked to resume after `after`. `epoch` is that of the feed, `head` the newest event,
   * `acked` the consumer's cursor on the server, `isFirst` whether it is the feed's first connection.
   */
  connected(after: Cursor | null, epoch: string | null, head: number, acked: number | null, isFirst: boolean): void {
    const isOther = this.#epoch !== null && this.#epoch !== epoch;
    this.#ledger.connected(after !== null, head, acked, isFirst || isOther);
    // A cursor of another epoch is announced by a gap, and keeps its epoch until then.
    if (acked !== null || after === null || after.epoch === null) this.#epoch = epoch;
  }

  /** Records the epoch of the snapshot that the feed starts with. */
  beginSnapshot(epoch: string | null): void {
    this.#epoch = epoch;
  }

  /** The event after which a connection resumes; null: the server decides. */
  get resumeAfter(): Cursor | null {
    return this.#cursor(this.#ledger.resumeAfter);
  }

  /** The last event to save or to acknowledge. */
  get acked(): Cursor | null {
    return this.#cursor(this.#ledger.acked);
  }

  /** Records an event that is delivered. Returns false if it was delivered before. */
  deliver(seq: number): boolean {
    return this.#ledger.deliver(seq);
  }

  /** Records a gap or a snapshot that is delivered: the feed continues after `at`. */
  jumpTo(at: number): void {
    this.#ledger.jumpTo(at);
  }

  /** Records that the epoch has changed, which is about to be delivered: the feed continues after `at` in this epoch. */
  changeEpoch(epoch: string | null, at: number): void {
    this.#ledger.changeEpoch(at);
    this.#epoch = epoch;
    this.#changeIsQueued = true;
  }

  /** Records that the caller has received that the epoch changed. */
  changeTaken(): void {
    this.#changeIsQueued = false;
  }

  /** Records that no event up to `at` matches the subscription. */
  skipTo(at: number): void {
    this.#ledger.skipTo(at);
  }

  /** Records that everything up to this event is processed. */
  ack(seq: number): void {
    if (!this.#changeIsQueued) this.#ledger.ack(seq);
  }

  #cursor(seq: number | null): Cursor | null {
    return seq === null ? null : { epoch: this.#epoch, seq };
  }
}
