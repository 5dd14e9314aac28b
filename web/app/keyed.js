/**
 * Shows a list in which each item keeps its element, so that focus, selections and what is being written survive a new
 * reading.
 *
 * @template Item
 * @template {HTMLElement} Shown
 */
export class KeyedList {
  #place;
  #make;
  #update;
  /** @type {Map<string, Shown>} */
  #shown = new Map();

  /**
   * @param {HTMLElement} place whose children these are
   * @param {(item: Item, key: string) => Shown} make
   * @param {(shown: Shown, item: Item) => void} update
   */
  constructor(place, make, update) {
    this.#place = place;
    this.#make = make;
    this.#update = update;
  }

  /** @param {Iterable<[string, Item]>} items in the order in which they are shown */
  show(items) {
    const all = new Map(items);
    for (const [key, element] of this.#shown) {
      if (all.has(key)) continue;
      element.remove();
      this.#shown.delete(key);
    }
    /** @type {Element | null} */
    let before = null;
    for (const [key, item] of all) {
      const element = this.#shown.get(key) ?? this.#make(item, key);
      this.#shown.set(key, element);
      this.#update(element, item);
      // Moving an element takes its focus away: only what is out of its place moves.
      /** @type {Element | null} */
      const next = before ? before.nextElementSibling : this.#place.firstElementChild;
      if (next !== element) this.#place.insertBefore(element, next);
      before = element;
    }
  }
}
