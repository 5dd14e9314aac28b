/**
 * An `EventTarget` whose event names and details are known to the type checker.
 *
 * Every event is a `CustomEvent`; `on` hands the listener its `detail` and returns the way to stop listening.
 *
 * @template {Record<string, any>} Events
 */
export class Emitter extends EventTarget {
  /**
   * @template {keyof Events & string} Name
   * @param {Name} name
   * @param {(detail: Events[Name]) => void} listener
   * @param {AddEventListenerOptions} [options]
   * @returns {() => void} stops listening
   */
  on(name, listener, options) {
    const handler = (/** @type {Event} */ event) => listener(/** @type {CustomEvent} */ (event).detail);
    this.addEventListener(name, handler, options);
    return () => this.removeEventListener(name, handler);
  }

  /**
   * @template {keyof Events & string} Name
   * @param {Name} name
   * @param {Events[Name]} detail
   */
  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
