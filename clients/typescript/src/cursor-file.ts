import { open, readFile, rename } from 'node:fs/promises';

import type { CursorStore } from './cursor.js';

/** Keeps the cursor in a file, which is never half written. Its folder must be there. */
export class FileCursor implements CursorStore {
  constructor(readonly path: string) {}

  async load(): Promise<number | null> {
    const text = await readFile(this.path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (text === null) return null;
    // Taken for none, it would silently skip what happened since.
    if (!/^\d+$/.test(text.trim())) throw new Error(`${this.path} holds no cursor`);
    return Number(text);
  }

  async save(seq: number): Promise<void> {
    const beside = `${this.path}.new`;
    const file = await open(beside, 'w');
    try {
      await file.writeFile(`${seq}\n`);
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(beside, this.path);
  }
}
