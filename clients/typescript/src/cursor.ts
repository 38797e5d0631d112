/**
 * A store for the cursor: the `seq` of the last processed event. The best one is the database in which you process the
 * events, in the same transaction.
 */
export interface CursorStore {
  /** Returns the cursor; null if none was saved yet. */
  load(): Promise<number | null>;
  /** Saves the cursor. It may be lower than before, if the feed itself went back. */
  save(seq: number): Promise<void>;
}

/** Stores the cursor in this object only. */
export class MemoryCursor implements CursorStore {
  #seq: number | null = null;

  async load(): Promise<number | null> {
    return this.#seq;
  }

  async save(seq: number): Promise<void> {
    this.#seq = seq;
  }
}
