import { arrange } from "./arrange.js";
import { PEER_FAILED } from "./problems.js";
import { StatisticsFeed } from "./statistics-feed.js";
import { SpeakingFeed } from "./speaking-feed.js";
import { VideoTile } from "./video-tile.js";

/**
 * @typedef {import("../sdk/room.js").Room} Room
 * @typedef {import("../sdk/room.js").Participant} Peer
 * @typedef {import("./local-devices.js").LocalDevices} LocalDevices
 * @typedef {import("./video-tile.js").TileContent} TileContent
 * @typedef {import("./arrange.js").Role} Role
 */

/** Where everyone is seen. */
export class Stage extends HTMLElement {
  #room;
  #devices;
  /** In the order in which they are shown. @type {Map<string, {tile: VideoTile, role: Role, peer: Peer | null}>} */
  #tiles = new Map();
  #invitation;
  #watcher = new ResizeObserver(() => this.#layout());
  #speaking;
  #statistics;

  /**
   * @param {Room} room
   * @param {LocalDevices} devices
   * @param {HTMLElement} invitation shown while nobody else is here
   */
  constructor(room, devices, invitation) {
    super();
    this.#room = room;
    this.#devices = devices;
    this.#invitation = invitation;
    this.#speaking = new SpeakingFeed(room, devices);
    this.#statistics = new StatisticsFeed(room);
  }

  connectedCallback() {
    this.className = "stage";
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", "Participants");
    this.append(this.#invitation);
    this.#speaking.start((id, speaking) => {
      const entry = this.#tiles.get(id);
      if (entry) entry.tile.speaking = speaking;
    });
    this.#watcher.observe(this);
    this.refresh();
  }

  disconnectedCallback() {
    this.#watcher.disconnect();
    this.#speaking.stop();
    this.#statistics.stop();
  }

  get showsStatistics() {
    return this.#statistics.isOn;
  }

  set showsStatistics(on) {
    if (!on) {
      this.#statistics.stop();
      for (const { tile } of this.#tiles.values()) tile.showStatistics(null);
      return;
    }
    this.#statistics.start((rowsOf) => {
      for (const [id, { tile, role, peer }] of this.#tiles) tile.showStatistics(rowsOf(id, role, peer));
    });
  }

  /** Starts what the browser held back. */
  play() {
    return Promise.all([...this.#tiles.values()].map(({ tile }) => tile.play()));
  }

  /** Shows the room as it is now. */
  refresh() {
    const seen = new Set();
    for (const peer of this.#room.peers.values()) {
      const screen = peer.media("screen");
      if (screen && !screen.muted) {
        seen.add(`${peer.id}:screen`);
        this.#tile(`${peer.id}:screen`, "screen", peer).show(screenContent(peer, screen.track));
      }
      seen.add(peer.id);
      this.#tile(peer.id, "person", peer).show({ ...personContent(peer), ...this.#powersOver(peer) });
    }
    seen.add("self");
    this.#tile("self", "self", null).show(this.#selfContent());
    for (const [id, { tile }] of this.#tiles) {
      if (seen.has(id)) continue;
      tile.remove();
      this.#tiles.delete(id);
    }
    this.#invitation.hidden = this.#room.peers.size > 0;
    this.#layout();
  }

  /**
   * @param {string} id
   * @param {Role} role
   * @param {Peer | null} peer
   */
  #tile(id, role, peer) {
    const known = this.#tiles.get(id);
    if (known) return known.tile;
    const tile = new VideoTile(role);
    tile.dataset.peer = id;
    if (peer) {
      tile.addEventListener("retry", () => peer.retry());
      tile.addEventListener("mute", () => this.#moderate(peer, "mute"));
      tile.addEventListener("remove", () => this.#moderate(peer, "remove"));
    }
    this.#tiles.set(id, { tile, role, peer });
    this.append(tile);
    return tile;
  }

  /** What may be done with somebody, by who moderates. @param {Peer} peer */
  #powersOver(peer) {
    const may = this.#room.order.mayModerate;
    const isHeard = peer.publications.some(({ source, muted }) => source === "microphone" && !muted);
    return { canMute: may && isHeard, canRemove: may };
  }

  /** @param {Peer} peer @param {"mute" | "remove"} action */
  #moderate(peer, action) {
    const what = action === "mute" ? { source: /** @type {const} */ ("microphone") } : {};
    const detail = this.#room.moderate({ action, peer_id: peer.id, ...what });
    this.dispatchEvent(new CustomEvent("moderated", { detail, bubbles: true }));
  }

  /** @returns {TileContent} */
  #selfContent() {
    const isSilent = !this.#devices.isOn("microphone");
    const picture = this.#devices.isOn("camera") ? this.#devices.tracks.camera : null;
    const label = `You${isSilent ? ", microphone off" : ""}${picture ? "" : ", camera off"}`;
    return { name: "You", label, picture, sound: [], isSilent, status: "", advice: "", canRetry: false };
  }

  #layout() {
    const { clientWidth: width, clientHeight: height } = this;
    if (width === 0 || height === 0) return;
    // One's own tile comes last, screens come first.
    const order = { screen: 0, person: 1, self: 2 };
    const seats = [...this.#tiles]
      .map(([id, { role }]) => ({ id, role }))
      .sort((a, b) => order[a.role] - order[b.role]);
    const wishes = [];
    for (const [id, place] of arrange(seats, { width, height, gap: width < 600 ? 6 : 10 })) {
      const entry = this.#tiles.get(id);
      entry?.tile.put(place);
      if (!entry?.peer) continue;
      const isScreen = entry.role === "screen";
      /** @type {import("../sdk/messages.js").Source} */
      const source = isScreen ? "screen" : "camera";
      wishes.push({
        peer: entry.peer,
        source,
        height: place.height * devicePixelRatio,
        priority: isScreen ? 1 : 0,
      });
    }
    this.#room.want(wishes);
  }
}

/** @param {Peer} peer @returns {TileContent} */
function personContent(peer) {
  const name = nameOf(peer);
  const camera = peer.media("camera");
  const microphone = peer.media("microphone");
  const screenSound = peer.media("screen-audio");
  const picture = camera && !camera.muted ? camera.track : null;
  const publishesMicrophone = peer.publications.find(({ source }) => source === "microphone");
  const isSilent = publishesMicrophone ? publishesMicrophone.muted : !microphone;
  const sound = [microphone, screenSound].flatMap((media) => (media ? [media.track] : []));
  const { status, advice } = statusOf(peer);
  const label = [name, isSilent && "microphone off", !picture && "camera off", status].filter(Boolean).join(", ");
  return { name, label, picture, sound, isSilent: isSilent && status === "", status, advice, canRetry: peer.state === "failed" };
}

/**
 * @param {Peer} peer
 * @param {MediaStreamTrack} track
 * @returns {TileContent}
 */
function screenContent(peer, track) {
  const name = `${nameOf(peer)}’s screen`;
  return { name, label: name, picture: track, sound: [], isSilent: false, status: "", advice: "", canRetry: false };
}

/** @param {Peer} peer */
export function nameOf(peer) {
  return peer.name || "Guest";
}

/** @param {Peer} peer */
function statusOf(peer) {
  switch (peer.state) {
    case "waiting":
    case "connecting":
      return { status: "Connecting…", advice: "" };
    case "unstable":
      return { status: "Connection interrupted", advice: "Reconnecting…" };
    case "failed":
      return { status: PEER_FAILED.title, advice: PEER_FAILED.advice };
    default:
      return { status: "", advice: "" };
  }
}

customElements.define("call-stage", Stage);
