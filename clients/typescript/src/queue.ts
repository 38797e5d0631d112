/** What was heard and not taken yet, in order. One reader at a time. */
export class Queue<Item> {
  #items: Item[] = [];
  #waiting: (() => void) | null = null;
  #over = false;

  get length(): number {
    return this.#items.length;
  }

  push(item: Item): void {
    if (this.#over) return;
    this.#items.push(item);
    this.#wake();
  }

  /** Nothing comes any more; what is there can still be taken. */
  end(): void {
    this.#over = true;
    this.#wake();
  }

  /** Forgets what is there. */
  clear(): void {
    this.#items = [];
  }

  /** The next item; undefined at the end. */
  async take(): Promise<Item | undefined> {
    while (this.#items.length === 0 && !this.#over) {
      await new Promise<void>((resolve) => (this.#waiting = resolve));
    }
    return this.#items.shift();
  }

  #wake(): void {
    this.#waiting?.();
    this.#waiting = null;
  }
}
