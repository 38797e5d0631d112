/** A position in a feed. */
export interface Cursor {
  /**
   * The epoch that `seq` belongs to. When the server's database is restored, another one begins, and the same `seq` may be
   * another event. null: not known; the server can't tell then that the cursor is of another epoch.
   */
  epoch: string | null;
  /** The last processed event. */
  seq: number;
}

/**
 * A store for the cursor: the last processed event. The best one is the database in which you process the events, in the
 * same transaction.
 */
export interface CursorStore {
  /** Returns the cursor; null if none was saved yet. A number is a cursor whose epoch is not known. */
  load(): Promise<Cursor | number | null>;
  /** Saves the cursor. Its `seq` may be lower than before, if the feed itself went back. */
  save(cursor: Cursor): Promise<void>;
}

/** Stores the cursor in this object only. */
export class MemoryCursor implements CursorStore {
  #cursor: Cursor | null = null;

  async load(): Promise<Cursor | null> {
    return this.#cursor;
  }

  async save(cursor: Cursor): Promise<void> {
    this.#cursor = cursor;
  }
}

/** Returns the text of a cursor: `EPOCH:SEQ`, or `SEQ` without an epoch. */
export function formatCursor({ epoch, seq }: Cursor): string {
  return epoch === null ? String(seq) : `${epoch}:${seq}`;
}

/** Parses the text of a cursor; null if it is none. */
export function parseCursor(text: string): Cursor | null {
  const [, epoch, seq] = /^(?:([0-9a-f-]{36}):)?(\d{1,16})$/i.exec(text) ?? [];
  return seq === undefined ? null : { epoch: epoch ?? null, seq: Number(seq) };
}
