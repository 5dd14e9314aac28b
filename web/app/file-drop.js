import { h } from "./dom.js";
import { icon } from "./icons.js";
import { t } from "./words.js";

/** Files dropped anywhere on the page. */
export class FileDrop {
  #overlay = h("div", { className: "drop", hidden: true }, h("div", {}, icon("file"), h("strong", {}, t("Drop to send to everyone"))));
  #depth = 0;
  #stop = new AbortController();

  /**
   * @param {HTMLElement} parent
   * @param {(files: File[]) => void} dropped
   */
  constructor(parent, dropped) {
    parent.append(this.#overlay);
    const { signal } = this.#stop;
    /** @param {(event: DragEvent) => void} handler */
    const guarded = (handler) => (/** @type {DragEvent} */ event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      handler(event);
    };
    // Entering a child comes before leaving its parent, so count.
    document.addEventListener("dragenter", guarded(() => this.#show(this.#depth + 1)), { signal });
    document.addEventListener("dragleave", guarded(() => this.#show(this.#depth - 1)), { signal });
    document.addEventListener("dragover", guarded(() => {}), { signal });
    document.addEventListener(
      "drop",
      guarded((event) => {
        this.#show(0);
        const files = [...(event.dataTransfer?.files ?? [])];
        if (files.length > 0) dropped(files);
      }),
      { signal },
    );
  }

  close() {
    this.#stop.abort();
    this.#overlay.remove();
  }

  /** @param {number} depth */
  #show(depth) {
    this.#depth = Math.max(0, depth);
    this.#overlay.hidden = this.#depth === 0;
  }
}
