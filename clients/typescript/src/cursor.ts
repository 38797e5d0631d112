/**
 * A place for the cursor: the `seq` of the last event that was dealt with. The best one is the database in which you
 * deal with the events, in the same transaction.
 */
export interface CursorStore {
  /** The cursor; null if none was ever kept. */
  load(): Promise<number | null>;
  /** Keeps it. It may be lower than before, when the feed itself went back. */
  save(seq: number): Promise<void>;
}

/** Keeps the cursor for as long as this object lives. */
export class MemoryCursor implements CursorStore {
  #seq: number | null = null;

  async load(): Promise<number | null> {
    return this.#seq;
  }

  async save(seq: number): Promise<void> {
    this.#seq = seq;
  }
}
