/** How long to wait before coming back. Chance and time are arguments. */

export interface Pace {
  /** The longest wait after the first failure, in milliseconds; it doubles with each one that follows. */
  baseMs: number;
  /** The longest wait of all. */
  capMs: number;
  /** A connection that stood so long forgives the failures before it. */
  stableAfterMs: number;
}

export const DEFAULT_PACE: Pace = { baseMs: 500, capMs: 30_000, stableAfterMs: 60_000 };

export class Backoff {
  #failures = 0;

  constructor(readonly pace: Pace) {}

  /**
   * A connection that stood for `stoodMs` broke; `chance` is from 0 to 1. The wait may be anything up to the limit:
   * then thousands who lost the same server do not come back in the same moment.
   */
  wait(stoodMs: number, chance: number): number {
    if (stoodMs >= this.pace.stableAfterMs) this.#failures = 0;
    const limit = Math.min(this.pace.capMs, this.pace.baseMs * 2 ** this.#failures);
    this.#failures += 1;
    return limit * chance;
  }
}
