/** What was heard and what of it was dealt with: where to come back to, and what to keep. */
export class Ledger {
  /** The last place that was heard of: here the next connection resumes. */
  #heard: number | null = null;
  /** Up to here everything is dealt with: here the next process resumes. */
  #kept: number | null = null;
  /** The last thing that was given out, while it is not dealt with. */
  #owed: number | null = null;

  /** Begins behind this place, which is known to be dealt with. */
  begin(at: number): void {
    [this.#heard, this.#kept, this.#owed] = [at, at, null];
  }

  /**
   * A connection stands, which asked to resume behind `after`. `head` is the newest event, `acked` where the server has
   * this consumer, `isFirst` whether it is the feed's first one.
   */
  connected(after: number | null, head: number, acked: number | null, isFirst: boolean): void {
    // The server knows better, until there is something that it may not have heard of.
    if (acked !== null && isFirst) this.begin(acked);
    // From here on nothing may be missed, whatever breaks before the first event comes.
    else if (after === null) this.begin(head);
  }

  /** Where a connection resumes; null: nothing has begun yet. */
  get resumeAt(): number | null {
    return this.#heard;
  }

  /** What the next process may rely on. */
  get kept(): number | null {
    return this.#kept;
  }

  /** Gives out an event. False if it was given out before. */
  give(seq: number): boolean {
    if (this.#heard !== null && seq <= this.#heard) return false;
    [this.#heard, this.#owed] = [seq, seq];
    return true;
  }

  /**
   * Gives out a gap, or the snapshot that a feed begins with: it goes on behind this place, which may lie before what was
   * heard.
   */
  givePlace(at: number): void {
    // What was dealt with is then a place in a feed that is no more.
    if (this.#heard !== null && at < this.#heard) this.#kept = null;
    [this.#heard, this.#owed] = [at, at];
  }

  /** Nothing up to here is for this subscription. */
  pass(at: number): void {
    if (this.#heard !== null && at <= this.#heard) return;
    this.#heard = at;
    if (this.#owed === null) this.#kept = at;
  }

  /** Everything up to here is dealt with. */
  done(seq: number): void {
    // What was not given out can't be done: a word about the feed before a gap comes late.
    if (this.#heard === null || seq > this.#heard) return;
    if (this.#kept !== null && seq <= this.#kept) return;
    this.#kept = seq;
    if (this.#owed !== null && seq >= this.#owed) [this.#owed, this.#kept] = [null, this.#heard];
  }
}
