// Waits for a condition instead of a fixed time.

/** In milliseconds. */
const WAIT_TIMEOUT = 15_000;

/** Calls `probe` until it returns something, and returns that. */
export async function eventually(what, probe) {
  const deadline = Date.now() + WAIT_TIMEOUT;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${WAIT_TIMEOUT} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}
