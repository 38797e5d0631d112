/** The delays between attempts to connect. Time and randomness are arguments. */

/**
 * How long to wait between attempts: at random up to a limit that doubles with each failure (exponential backoff with full
 * jitter), so that clients which lost the same server do not reconnect at the same moment.
 */
export interface Backoff {
  /** The limit after the first failure, in milliseconds. */
  initialMs: number;
  /** The highest limit. */
  maxMs: number;
  /** A connection that lasted this long resets the number of failures. */
  resetAfterMs: number;
}

export const DEFAULT_BACKOFF: Backoff = { initialMs: 500, maxMs: 30_000, resetAfterMs: 60_000 };

/** Returns the delay after this many failures in a row; `jitter` is a random number from 0 to 1. */
export function delayMs({ initialMs, maxMs }: Backoff, failures: number, jitter: number): number {
  return Math.min(maxMs, initialMs * 2 ** (failures - 1)) * jitter;
}

/** Returns the number of failures in a row after a connection that lasted `connectedForMs` has failed. */
export function countFailure({ resetAfterMs }: Backoff, failures: number, connectedForMs: number): number {
  return connectedForMs >= resetAfterMs ? 1 : failures + 1;
}
