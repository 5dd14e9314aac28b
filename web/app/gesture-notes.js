import { announce } from "./announce.js";
import { Gathered, listed } from "./gathered.js";
import { REACTION_NAMES } from "./reaction-bar.js";
import { nameOf } from "./stage.js";
import { t, tn } from "./words.js";

/**
 * @typedef {import("../sdk/room.js").Room} Room
 * @typedef {import("../sdk/messages.js").Emoji} Emoji
 */

/** What is said and shown of raised hands and reactions, and what a person does with them. */
export class GestureNotes {
  #room;
  #stage;
  #toasts;
  #raised;
  #allDown;
  #reactions = new Gathered((all) => announce(all.map(([what, who]) => t("{what} from {who}", { what, who: listed(who) })).join(". ")));
  /** One's own place in the queue when it was looked at last; 0 for none. */
  #place = 0;
  /** Whether one's own hand goes down because the person wants it so. */
  #lowers = false;

  /**
   * @param {Room} room
   * @param {object} page
   * @param {import("./stage.js").Stage} page.stage
   * @param {import("./toasts.js").Toasts} page.toasts
   * @param {() => void} page.openPeople
   */
  constructor(room, { stage, toasts, openPeople }) {
    this.#room = room;
    this.#stage = stage;
    this.#toasts = toasts;
    this.#raised = new Gathered(([[, who]]) => toasts.say(tn(who.length, "{who} raised a hand", "{who} raised a hand", { who: listed(who) }), { about: "hands", action: openPeople }));
    this.#allDown = new Gathered(() => room.gestures.queue.length === 0 && announce(t("No hand is raised any more")));
  }

  /**
   * @param {() => void} refresh the page, as hands are shown in many places
   * @returns {(() => void)[]} to stop
   */
  listen(refresh) {
    const { gestures } = this.#room;
    // However many hands go up and down, once for each picture that is drawn.
    let frame = 0;
    const refreshSoon = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        refresh();
      });
    };
    return [
      gestures.on("hand", ({ peer, raised }) => {
        if (peer && raised) this.#raised.add("", nameOf(peer));
        if (peer && gestures.queue.length === 0) this.#allDown.add("", nameOf(peer));
        this.#lookAtOwn();
        refreshSoon();
      }),
      // At the end of the call all others leave before it is over.
      this.#room.on("peer-left", () => queueMicrotask(() => this.#room.state === "joined" && this.#lookAtOwn())),
      gestures.on("reaction", ({ peer, emoji }) => {
        this.#reactions.add(REACTION_NAMES[emoji], peer ? nameOf(peer) : t("you"));
        this.#stage.react(peer?.id ?? "self", emoji);
      }),
      () => cancelAnimationFrame(frame),
      () => this.#raised.stop(),
      () => this.#allDown.stop(),
      () => this.#reactions.stop(),
    ];
  }

  /** Raises one's own hand, or lowers it. */
  async toggleHand() {
    const { gestures } = this.#room;
    if (!gestures.isPossible) return this.#toasts.say(t("Hands cannot be raised in this room"));
    const raised = !gestures.isRaised;
    this.#lowers = !raised;
    await gestures.raise(raised).catch((error) => this.#refused(error));
  }

  /** @param {Emoji} emoji */
  async react(emoji) {
    const { gestures } = this.#room;
    if (!gestures.isPossible) return this.#toasts.say(t("There are no reactions in this room"));
    await gestures.react(emoji).catch((error) => this.#refused(error));
  }

  /** @param {{description?: string, details?: unknown, message: string}} error */
  #refused({ description, details, message }) {
    this.#lowers = false;
    const isTooFast = description === "Limit reached";
    this.#toasts.say(isTooFast ? t("That was too fast. Wait a moment.") : t("That did not work: {why}", { why: String(details ?? message) }), { about: "gestures" });
  }

  /** Says what has become of one's own hand. */
  #lookAtOwn() {
    const place = this.#room.gestures.placeOf();
    const before = this.#place;
    this.#place = place;
    if (place === before) return;
    if (place === 0) {
      if (this.#lowers) announce(t("Your hand is down"));
      else this.#toasts.say(t("Your hand was lowered"), { about: "own-hand" });
      this.#lowers = false;
    } else if (before === 0) announce(t("Your hand is raised, number {place}", { place }));
    else if (place === 1) this.#toasts.say(t("You are next: your hand is the first"), { about: "own-hand" });
  }
}
