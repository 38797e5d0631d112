/** Why a feed ended. Every other failure is retried. */
export class FeedError extends Error {
  override readonly name = 'FeedError';

  constructor(
    /** The HTTP status, or the close code; null if the cursor can't be used. */
    readonly code: number | null,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Whether the key was refused: invalid, replaced, or its app is disabled. */
  get isForbidden(): boolean {
    return this.code !== null && [401, 403, 4401, 4403].includes(this.code);
  }

  /** Whether a newer connection of the consumer took over, or the consumer was deleted. */
  get isTakenOver(): boolean {
    return this.code === 4409;
  }
}

/** Returns whether a retry would not help after this HTTP status or close code of `/ws`. */
export function isFinal(code: number): boolean {
  // A slow client, a rate limit, a timeout: a retry may succeed.
  if ([408, 425, 429, 4408, 4429].includes(code)) return false;
  // The server's close codes from 4400 on correspond to HTTP's.
  return (code >= 300 && code < 500) || code === 1002 || code === 1009 || (code >= 4400 && code < 4500);
}
