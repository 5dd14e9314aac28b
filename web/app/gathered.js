import { listing, t } from "./words.js";

/** Between two times that something is said of the same kind. */
const EVERY_MS = 4_000;
/** Names that are said; of the others how many there are. */
const NAMES_MAX = 3;

/**
 * What many do at once, said in one go: the first at once, what follows gathered.
 */
export class Gathered {
  #tell;
  #everyMs;
  #later;
  #rests = false;
  /** Who did what, in the order in which it was first done. @type {Map<string, Set<string>>} */
  #waiting = new Map();

  /**
   * @param {(all: [what: string, who: string[]][]) => void} tell
   * @param {number} [everyMs]
   * @param {(run: () => void, ms: number) => unknown} [later] a timer
   */
  constructor(tell, everyMs = EVERY_MS, later = (run, ms) => setTimeout(run, ms)) {
    this.#tell = tell;
    this.#everyMs = everyMs;
    this.#later = later;
  }

  /**
   * @param {string} what
   * @param {string} who
   */
  add(what, who) {
    const known = this.#waiting.get(what) ?? new Set();
    this.#waiting.set(what, known.add(who));
    if (!this.#rests) this.#say();
  }

  /** What has not been said yet is not said any more. */
  stop() {
    this.#waiting.clear();
  }

  #say() {
    this.#rests = this.#waiting.size > 0;
    if (!this.#rests) return;
    const all = [...this.#waiting].map(([what, who]) => /** @type {[string, string[]]} */ ([what, [...who]]));
    this.#waiting.clear();
    this.#tell(all);
    this.#later(() => this.#say(), this.#everyMs);
  }
}

/** `Ada, Bob and 3 others` @param {string[]} names */
export function listed(names) {
  const shown = names.length > NAMES_MAX ? [...names.slice(0, NAMES_MAX - 1), t("{count} others", { count: names.length - NAMES_MAX + 1 })] : names;
  return listing(shown);
}
