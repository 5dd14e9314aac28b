import { canPickPlace, pickedSink, privateSink } from "../sdk/file-sink.js";
import { FileReceiver } from "../sdk/file-receiver.js";
import { announce } from "./announce.js";
import { h, setText } from "./dom.js";
import { formatBytes, formatDuration, formatRate } from "./format.js";
import { icon } from "./icons.js";

/** @typedef {import("../sdk/file-transfer.js").FileTransfer} FileTransfer */

/** Progress is drawn no more often; the numbers would not be read anyway. */
const DRAW_MS = 100;

/** One file on its way, with its progress. */
export class TransferCard extends HTMLElement {
  #transfer;
  #who;
  #detail = h("p", { className: "transfer-detail" });
  #bar = h("progress", { max: 1, value: 0 });
  #actions = h("div", { className: "transfer-actions" });
  #shown = "";
  #drawnAt = 0;
  #url = "";

  /**
   * @param {FileTransfer} transfer
   * @param {string} who is on the other side
   */
  constructor(transfer, who) {
    super();
    this.#transfer = transfer;
    this.#who = who;
    this.className = "transfer";
    this.#bar.setAttribute("aria-label", `Progress of ${transfer.name}`);
    this.append(
      h(
        "div",
        { className: "transfer-head" },
        icon("file"),
        h("div", {}, h("strong", { className: "transfer-name" }, transfer.name), this.#detail),
      ),
      this.#bar,
      this.#actions,
    );
    transfer.on("change", () => this.#refresh());
    this.#refresh();
  }

  disconnectedCallback() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    if (this.#transfer instanceof FileReceiver && this.#transfer.isOver) this.#transfer.forget().catch(() => {});
  }

  #refresh() {
    const { state, size, received } = this.#transfer;
    const now = performance.now();
    if (state === this.#shown && now - this.#drawnAt < DRAW_MS) return;
    this.#drawnAt = now;
    this.dataset.state = state;
    this.#bar.hidden = state !== "active" && state !== "checking";
    this.#bar.value = size > 0 ? received / size : 1;
    setText(this.#detail, this.#describe());
    if (this.#shown === state) return;
    this.#shown = state;
    this.#actions.replaceChildren(...this.#buttons());
    if (state === "done") this.#finished();
    if (state === "failed" || state === "cancelled") announce(`${this.#transfer.name}: ${this.#describe()}`);
  }

  #describe() {
    const { state, size, received, rate, direction, reason } = this.#transfer;
    const total = formatBytes(size);
    const isIn = direction === "receive";
    switch (state) {
      case "offered":
        return isIn ? `${this.#who} offers a file, ${total}` : `Offered to ${this.#who}, ${total}`;
      case "active": {
        const left = rate > 0 ? ` · ${formatDuration((size - received) / rate)} left` : "";
        return `${isIn ? "From" : "To"} ${this.#who} · ${formatBytes(received)} of ${total}${rate > 0 ? ` · ${formatRate(rate * 8)}` : ""}${left}`;
      }
      case "checking":
        return "Checking…";
      case "done":
        return isIn ? `From ${this.#who}, ${total}, complete` : `${this.#who} has it, ${total}`;
      case "declined":
        return isIn ? "You declined" : `${this.#who} declined${reason ? ` (${reason})` : ""}`;
      case "cancelled":
        return reason && reason !== "cancelled" ? `Cancelled: ${reason}` : "Cancelled";
      case "failed":
        return `Failed: ${reason}`;
    }
  }

  /** @returns {Node[]} */
  #buttons() {
    const transfer = this.#transfer;
    const cancel = h("button", { className: "button small quiet", onclick: () => transfer.cancel() }, "Cancel");
    if (transfer.state === "active" || transfer.state === "checking") return [cancel];
    if (transfer.state !== "offered") return [];
    if (!(transfer instanceof FileReceiver)) return [cancel];
    return [
      h("button", { className: "button small primary", onclick: () => this.#accept(transfer) }, icon("download"), "Save"),
      h("button", { className: "button small quiet", onclick: () => transfer.decline() }, "Decline"),
    ];
  }

  /** @param {FileReceiver} transfer */
  async #accept(transfer) {
    try {
      transfer.accept(canPickPlace() ? await pickedSink(transfer.name) : await privateSink());
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return; // no place chosen: it stays offered
      transfer.cancel("could not be stored");
      setText(this.#detail, "This browser gives no place to store it; private windows often do not.");
    }
  }

  async #finished() {
    announce(`${this.#transfer.name}: ${this.#describe()}`);
    if (!(this.#transfer instanceof FileReceiver)) return;
    const file = await this.#transfer.file();
    if (!file) return;
    // From the private file system to where the person's downloads go.
    this.#url = URL.createObjectURL(file);
    const link = h("a", { className: "button small", href: this.#url, download: this.#transfer.name }, icon("download"), "Save again");
    this.#actions.replaceChildren(link);
    link.click();
  }
}

customElements.define("transfer-card", TransferCard);
