import { canPickPlace, pickedSink, privateSink } from "../sdk/file-sink.js";
import { FileReceiver } from "../sdk/file-receiver.js";
import { announce } from "./announce.js";
import { h, setText } from "./dom.js";
import { formatBytes, formatDuration, formatRate } from "./format.js";
import { icon } from "./icons.js";
import { t } from "./words.js";

/** @typedef {import("../sdk/file-transfer.js").FileTransfer} FileTransfer */

/** Progress is drawn no more often; the numbers would not be read anyway. */
const DRAW_MS = 100;
/** Why one ended, as both sides say it; whatever else is said is shown as it is. @type {Record<string, string>} */
const REASONS = {
  "connection lost": t("connection lost"),
  "the connection did not come back": t("the connection did not come back"),
  "the other side has left": t("the other side has left"),
  "the other side does not know it any more": t("the other side does not know it any more"),
  "the file changed while it was sent": t("the file changed while it was sent"),
  "takes no files": t("takes no files"),
  "there is not enough space on this device": t("there is not enough space on this device"),
  "could not be stored on this device": t("could not be stored on this device"),
  "the sender sent more than it had offered": t("the sender sent more than it had offered"),
  "could not be stored": t("could not be stored"),
  "more than was agreed": t("more than was agreed"),
  "what arrived is not what was sent": t("what arrived is not what was sent"),
};

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
    this.#bar.setAttribute("aria-label", t("Progress of {file}", { file: transfer.name }));
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
    this.#bar.hidden = state !== "active" && state !== "checking" && !(state === "interrupted" && received > 0);
    this.#bar.value = size > 0 ? received / size : 1;
    setText(this.#detail, this.#describe());
    if (this.#shown === state) return;
    this.#shown = state;
    this.#actions.replaceChildren(...this.#buttons());
    if (state === "done") this.#finished();
    if (state === "failed" || state === "cancelled" || state === "interrupted") announce(`${this.#transfer.name}: ${this.#describe()}`);
  }

  #describe() {
    const { state, size, received, rate, direction, reason } = this.#transfer;
    const values = { who: this.#who, size: formatBytes(size) };
    const why = REASONS[reason] ?? reason;
    const isIn = direction === "receive";
    switch (state) {
      case "offered":
        return isIn ? t("{who} offers a file, {size}", values) : t("Offered to {who}, {size}", values);
      case "active": {
        const speed = rate > 0 ? [formatRate(rate * 8), t("{time} left", { time: formatDuration((size - received) / rate) })] : [];
        return [isIn ? t("From {who}", values) : t("To {who}", values), t("{part} of {size}", { ...values, part: formatBytes(received) }), ...speed].join(" · ");
      }
      case "interrupted":
        return t("Interrupted at {part} of {size}. It goes on by itself when {who} can be reached again.", { ...values, part: formatBytes(received) });
      case "checking":
        return t("Checking…");
      case "done":
        return isIn ? t("From {who}, {size}, complete", values) : t("{who} has it, {size}", values);
      case "declined":
        return isIn ? t("You declined") : `${t("{who} declined", values)}${why ? ` (${why})` : ""}`;
      case "cancelled":
        return reason && reason !== "cancelled" ? t("Cancelled: {why}", { why }) : t("Cancelled");
      case "failed":
        return t("Failed: {why}", { why });
    }
  }

  /** @returns {Node[]} */
  #buttons() {
    const transfer = this.#transfer;
    const cancel = h("button", { className: "button small quiet", onclick: () => transfer.cancel() }, t("Cancel"));
    if (["active", "interrupted", "checking"].includes(transfer.state)) return [cancel];
    if (transfer.state !== "offered") return [];
    if (!(transfer instanceof FileReceiver)) return [cancel];
    return [
      h("button", { className: "button small primary", onclick: () => this.#accept(transfer) }, icon("download"), t("Save")),
      h("button", { className: "button small quiet", onclick: () => transfer.decline() }, t("Decline")),
    ];
  }

  /** @param {FileReceiver} transfer */
  async #accept(transfer) {
    try {
      transfer.accept(canPickPlace() ? await pickedSink(transfer.name) : await privateSink());
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return; // no place chosen: it stays offered
      transfer.cancel("could not be stored");
      setText(this.#detail, t("This browser gives no place to store it; private windows often do not."));
    }
  }

  async #finished() {
    announce(`${this.#transfer.name}: ${this.#describe()}`);
    if (!(this.#transfer instanceof FileReceiver)) return;
    const file = await this.#transfer.file();
    if (!file) return;
    // From the private file system to where the person's downloads go.
    this.#url = URL.createObjectURL(file);
    const link = h("a", { className: "button small", href: this.#url, download: this.#transfer.name }, icon("download"), t("Save again"));
    this.#actions.replaceChildren(link);
    link.click();
  }
}

customElements.define("transfer-card", TransferCard);
