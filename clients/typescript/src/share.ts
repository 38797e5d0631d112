/** How many events are remembered as done, to know them again should their acknowledgement have been lost. */
const REMEMBERED = 20_000;

/**
 * What one of several connections that share a consumer was given, and has dealt with.
 *
 * Here places are not in order: what another connection had and did not deal with comes later. The server counts an
 * acknowledgement for all that it gave to this connection before, so only what is done from the front is acknowledged.
 */
export class Share {
  /** Given by this connection and not acknowledged on it. */
  #given: number[] = [];
  /** Given out and not dealt with, whichever connection gave it; in the order in which it was given out. */
  #owed = new Set<number>();
  /** Dealt with, the oldest first. */
  #done = new Set<number>();
  #acknowledged: number | null = null;

  /** The server says where a connection resumes. */
  get resumeAt(): null {
    return null;
  }

  begin(): void {}

  /** A new connection: the server knows nothing of what the old one had. */
  connected(): void {
    this.#given = [];
  }

  /** Gives out an event. False if it was given out before. */
  give(seq: number): boolean {
    this.#given.push(seq);
    if (this.#owed.has(seq) || this.#done.has(seq)) return false;
    this.#owed.add(seq);
    return true;
  }

  /** A gap is told to each of those who share; nobody has to deal with it for the others. */
  givePlace(): void {}

  pass(): void {}

  /** This event is dealt with, and all that were given out before it. */
  done(seq: number): void {
    if (!this.#owed.has(seq)) return;
    for (const owed of this.#owed) {
      this.#owed.delete(owed);
      this.#done.add(owed);
      if (owed === seq) break;
    }
    for (const old of this.#done) {
      if (this.#done.size <= REMEMBERED) break;
      this.#done.delete(old);
    }
  }

  /** The last event that can be acknowledged. */
  get kept(): number | null {
    const firstOwed = this.#given.findIndex((given) => this.#owed.has(given));
    const done = this.#given.splice(0, firstOwed < 0 ? this.#given.length : firstOwed);
    this.#acknowledged = done.at(-1) ?? this.#acknowledged;
    return this.#acknowledged;
  }
}
