// Waits for a condition instead of a fixed time.

/** In milliseconds. */
const WAIT_TIMEOUT = 15_000;

/** Calls `probe` until it returns something, and returns that. */
export async function eventually(what, probe, timeout = WAIT_TIMEOUT) {
  const deadline = Date.now() + timeout;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${timeout} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}
