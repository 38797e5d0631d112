// Waiting for a condition, never for the clock.

const PATIENCE = 15_000;

/** Waits until the probe gives something, and gives it. */
export async function eventually(what, probe) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${PATIENCE} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}
