/**
 * @typedef {import("./messages.js").Source} Source
 * @typedef {import("./messages.js").WaitingPeer} WaitingPeer
 * @typedef {import("./messages.js").Authenticated} Authenticated
 * @typedef {import("./messages.js").RoomState} RoomState
 */

/** What this participant may do in its room, and what those who moderate have decided. */
export class Order {
  /** As the server names them. @type {string[]} */ permissions = [];
  /** Whether nobody may join who may not moderate. */ isLocked = false;
  /** Whether who comes waits to be admitted. */ hasLobby = false;
  /** Those who wait, for who may moderate. @type {WaitingPeer[]} */ waiting = [];
  /** When the token ends by which this participant joined, in milliseconds of `Date.now()`. @type {number | null} */ endsAt = null;
  /** How many of the last messages to everybody the server keeps for those who come later. */ chatHistory = 0;
  /** Whether the server speaks the base protocol alone: it knows no permissions, hands or reactions. */ isBase = true;

  get mayModerate() {
    return this.permissions.includes("moderate");
  }

  /** Whether it may say something to the others, and agree with them on connections. */
  get mayTalk() {
    return this.isBase || this.permissions.includes("data");
  }

  /** @param {Source} source */
  mayPublish(source) {
    return this.isBase || this.permissions.includes("publish") || this.permissions.includes(`publish:${source}`);
  }

  /** @param {Authenticated} data */
  joined({ permissions, locked = false, lobby = false, waiting = [], chat_history = 0, token_expires_in_ms }) {
    this.isBase = permissions === undefined;
    this.permissions = permissions ?? [];
    this.waiting = waiting;
    this.changed({ locked, lobby, chat_history });
    this.renewed(token_expires_in_ms);
  }

  /** @param {RoomState} state */
  changed({ locked, lobby, chat_history = 0 }) {
    this.isLocked = locked;
    this.hasLobby = lobby;
    this.chatHistory = chat_history;
  }

  /** @param {number | undefined | null} leftMs */
  renewed(leftMs) {
    this.endsAt = typeof leftMs === "number" ? Date.now() + leftMs : null;
  }
}
