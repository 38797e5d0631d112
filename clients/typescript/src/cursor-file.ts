import { open, readFile, rename } from 'node:fs/promises';

import { formatCursor, parseCursor, type Cursor, type CursorStore } from './cursor.js';

/** Stores the cursor in a file, which is replaced atomically. Its folder must exist. */
export class FileCursor implements CursorStore {
  constructor(readonly path: string) {}

  async load(): Promise<Cursor | null> {
    const text = await readFile(this.path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (text === null) return null;
    // An unreadable cursor treated as none would silently skip events.
    const cursor = parseCursor(text.trim());
    if (cursor === null) throw new Error(`${this.path} holds no cursor`);
    return cursor;
  }

  async save(cursor: Cursor): Promise<void> {
    const temporary = `${this.path}.new`;
    const file = await open(temporary, 'w');
    try {
      await file.writeFile(`${formatCursor(cursor)}\n`);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.path);
  }
}
