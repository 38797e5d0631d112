/** Why a feed ended for good. Everything else that goes wrong is tried again. */
export class Stopped extends Error {
  override readonly name = 'Stopped';

  constructor(
    /** The HTTP status, or the close code; null where the cursor can't be used. */
    readonly code: number | null,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Whether the key is the reason: wrong, replaced, or its app is switched off. */
  get isForbidden(): boolean {
    return this.code !== null && [401, 403, 4401, 4403].includes(this.code);
  }

  /** Whether a newer connection of the consumer took over, or the consumer was deleted. */
  get isTakenOver(): boolean {
    return this.code === 4409;
  }
}

/** Whether an HTTP status or a close code of `/ws` would be the same tomorrow. */
export function stops(code: number): boolean {
  // Too slow a client, too many of them, a request that took too long: another time.
  if ([408, 425, 429, 4408, 4429].includes(code)) return false;
  // The codes of the server from 4400 on are HTTP's in another place.
  return (code >= 300 && code < 500) || code === 1002 || code === 1009 || (code >= 4400 && code < 4500);
}
