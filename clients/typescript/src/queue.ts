/** The items that were received and not taken yet, in order. It has one reader. */
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

  /** Ends the queue; its items can still be taken. */
  end(): void {
    this.#over = true;
    this.#wake();
  }

  /** Removes all items. */
  clear(): void {
    this.#items = [];
  }

  /** Returns the next item; undefined at the end. */
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
