/** How many processed events are remembered, to recognize them if their acknowledgement was lost. */
const MAX_REMEMBERED = 20_000;

/**
 * The progress of one of several connections that share a consumer.
 *
 * Events do not come in the order of `seq`: those that another connection did not acknowledge come later. An
 * acknowledgement counts for all events that this connection received before, so only a processed prefix is acknowledged.
 */
export class SharedLedger {
  /** Received on this connection and not acknowledged. */
  #received: number[] = [];
  /** Delivered and not processed, on any connection; in the order of delivery. */
  #pending = new Set<number>();
  /** Processed events, oldest first. */
  #done = new Set<number>();
  #acknowledged: number | null = null;

  /** The server decides where a connection resumes. */
  get resumeAfter(): null {
    return null;
  }

  startAfter(): void {}

  /** Records a new connection: the server does not know what the old one received. */
  connected(): void {
    this.#received = [];
  }

  /** Records an event that is delivered. Returns false if it was delivered before. */
  deliver(seq: number): boolean {
    this.#received.push(seq);
    if (this.#pending.has(seq) || this.#done.has(seq)) return false;
    this.#pending.add(seq);
    return true;
  }

  /** Records a change of the epoch: the same numbers are other events from now on. */
  changeEpoch(): void {
    this.#received = [];
    this.#pending.clear();
    this.#done.clear();
    this.#acknowledged = null;
  }

  /** Every connection of a shared consumer receives a gap; none has to acknowledge it. */
  jumpTo(): void {}

  skipTo(): void {}

  /** Records that this event, and all that were delivered before it, are processed. */
  ack(seq: number): void {
    if (!this.#pending.has(seq)) return;
    for (const pending of this.#pending) {
      this.#pending.delete(pending);
      this.#done.add(pending);
      if (pending === seq) break;
    }
    for (const old of this.#done) {
      if (this.#done.size <= MAX_REMEMBERED) break;
      this.#done.delete(old);
    }
  }

  /** The last event that can be acknowledged. */
  get acked(): number | null {
    const firstPending = this.#received.findIndex((received) => this.#pending.has(received));
    const done = this.#received.splice(0, firstPending < 0 ? this.#received.length : firstPending);
    this.#acknowledged = done.at(-1) ?? this.#acknowledged;
    return this.#acknowledged;
  }
}
