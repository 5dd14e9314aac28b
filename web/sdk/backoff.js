/** Wait before the second attempt; the first one is made at once. */
const FIRST_MS = 250;
/** Longest wait: a person who gets the network back should not stare at the page for a minute. */
const LONGEST_MS = 8_000;

/**
 * How long to wait before attempt number `attempt` (0 is the first): exponential, capped, with full jitter over the
 * upper half so that a server that restarts is not met by everyone in the same instant.
 *
 * @param {number} attempt
 * @param {() => number} [random] in [0, 1)
 * @returns {number} milliseconds
 */
export function backoff(attempt, random = Math.random) {
  if (attempt <= 0) return 0;
  const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** (attempt - 1));
  return ceiling / 2 + (ceiling / 2) * random();
}
