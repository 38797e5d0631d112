/** The progress of a feed in the order of `seq`: where to resume, and what to save. */
export class Ledger {
  /** The last position that was received: the next connection resumes here. */
  #received: number | null = null;
  /** Everything up to here is processed: the next process resumes here. */
  #acked: number | null = null;
  /** The last delivered item, while it is not acknowledged. */
  #pending: number | null = null;

  /** Starts after this event, up to which everything is processed. */
  startAfter(at: number): void {
    [this.#received, this.#acked, this.#pending] = [at, at, null];
  }

  /**
   * Records a new connection. `resumes` says whether it asked to resume after an event, `head` is the newest event, `acked`
   * the consumer's cursor on the server, `isFirst` whether nothing that it has not received was acknowledged.
   */
  connected(resumes: boolean, head: number, acked: number | null, isFirst: boolean): void {
    // The server's cursor counts until there may be acknowledgements that it has not received.
    if (acked !== null && isFirst) this.startAfter(acked);
    // From here on nothing may be missed, even if the connection breaks before the first event.
    else if (!resumes) this.startAfter(head);
  }

  /** The event after which a connection resumes; null before the start. */
  get resumeAfter(): number | null {
    return this.#received;
  }

  /** The event up to which everything is processed. */
  get acked(): number | null {
    return this.#acked;
  }

  /** Records an event that is delivered. Returns false if it was delivered before. */
  deliver(seq: number): boolean {
    if (this.#received !== null && seq <= this.#received) return false;
    [this.#received, this.#pending] = [seq, seq];
    return true;
  }

  /**
   * Records a gap or the initial snapshot that is delivered: the feed continues after `at`, which may be lower than what was
   * received.
   */
  jumpTo(at: number): void {
    // The cursor then refers to a feed that no longer exists.
    if (this.#received !== null && at < this.#received) this.#acked = null;
    [this.#received, this.#pending] = [at, at];
  }

  /**
   * Records a change of the epoch that is delivered: the feed continues after `at` in another epoch, in which nothing is
   * processed yet.
   */
  changeEpoch(at: number): void {
    [this.#received, this.#acked, this.#pending] = [at, null, at];
  }

  /** Records that no event up to `at` matches the subscription. */
  skipTo(at: number): void {
    if (this.#received !== null && at <= this.#received) return;
    this.#received = at;
    if (this.#pending === null) this.#acked = at;
  }

  /** Records that everything up to this event is processed. */
  ack(seq: number): void {
    // An event that was not delivered can't be acknowledged: this one belongs to the feed before a gap.
    if (this.#received === null || seq > this.#received) return;
    if (this.#acked !== null && seq <= this.#acked) return;
    this.#acked = seq;
    if (this.#pending !== null && seq >= this.#pending) [this.#pending, this.#acked] = [null, this.#received];
  }
}
