/** How often it is looked. */
const LOOK_MS = 100;
/** Once all connections are up, what somebody never sends is waited for this long. */
const PATIENCE_MS = 6_000;

/**
 * Calls back once, when everything that the others send arrives by the connections of a room's new shape, or those are up
 * and nothing more comes.
 *
 * @param {() => {isUp: boolean, isWhole: boolean}} look
 * @param {() => void} settled
 * @returns {() => void} stops it
 */
export function whenSettled(look, settled) {
  /** @type {number | null} */
  let upSince = null;
  const timer = setInterval(() => {
    const { isUp, isWhole } = look();
    if (!isUp) {
      upSince = null;
      return;
    }
    upSince ??= performance.now();
    if (!isWhole && performance.now() - upSince < PATIENCE_MS) return;
    clearInterval(timer);
    settled();
  }, LOOK_MS);
  return () => clearInterval(timer);
}
