import { arrange } from "./arrange.js";
import { paginate } from "./pages.js";
import { remember, remembered } from "./preferences.js";
import { PEER_FAILED } from "./problems.js";
import { QualityFeed, ratingOf } from "./quality-feed.js";
import { showReaction } from "./reaction-bar.js";
import { StatisticsFeed } from "./statistics-feed.js";
import { SpeakingFeed } from "./speaking-feed.js";
import { StagePager } from "./stage-pager.js";
import { VideoTile } from "./video-tile.js";
import { t, within } from "./words.js";

/**
 * @typedef {import("../sdk/room.js").Room} Room
 * @typedef {import("../sdk/room.js").Participant} Peer
 * @typedef {import("./local-devices.js").LocalDevices} LocalDevices
 * @typedef {import("./video-tile.js").TileContent} TileContent
 * @typedef {import("./arrange.js").Role} Role
 */

/** Another speaker takes the large place after this long at the earliest. */
const SPEAKER_MS = 2_000;

/** Where everyone is seen. */
export class Stage extends HTMLElement {
  /** Whether something lies over all of it; asked whenever it is laid out. */ isCovered = () => false;
  #room;
  #devices;
  /** In the order in which they are shown. @type {Map<string, {tile: VideoTile, role: Role, peer: Peer | null}>} */
  #tiles = new Map();
  #invitation;
  #watcher = new ResizeObserver(() => this.#layout());
  #speaking;
  #statistics;
  #quality;
  /** Who is pinned, by the id of the tile. @type {string | null} */
  #pinned = null;
  /** Who spoke last. @type {string | null} */
  #speaker = null;
  #spokeAt = 0;
  /** Runs where somebody has begun to speak too soon after another. @type {number | undefined} */
  #soon;
  /** Who speaks now. @type {Set<string>} */
  #talking = new Set();
  /** From 0, of those that the tiles take. */
  #page = 0;
  #pager = new StagePager({ turn: (page) => this.#turn(page), find: () => this.#find() });
  #onVisibility = () => this.#layout();
  /** Of the picture that was popped out, in CSS pixels. */
  #apart = 0;
  #onApart = (/** @type {Event} */ event) => (event.type === "enterpictureinpicture" ? this.#poppedOut(/** @type {PictureInPictureEvent} */ (event)) : this.#layout());
  /** Of those whose connection is not good, by the id of the tile. @type {Map<string, import("../sdk/qualities.js").Quality>} */
  #qualities = new Map();

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
    this.#quality = new QualityFeed(room);
  }

  connectedCallback() {
    this.className = "stage";
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", t("Participants"));
    this.append(this.#invitation, this.#pager);
    document.addEventListener("visibilitychange", this.#onVisibility);
    for (const event of ["enterpictureinpicture", "leavepictureinpicture"]) this.addEventListener(event, this.#onApart);
    this.#speaking.start((id, speaking) => {
      const entry = this.#tiles.get(id);
      if (entry) entry.tile.speaking = speaking;
      if (speaking && id !== "self") this.#spoke(id);
      if (speaking) this.#talking.add(id);
      else this.#talking.delete(id);
      if (entry?.tile.hidden) this.#layout();
    });
    this.#quality.start(
      (qualities) => {
        this.#qualities = qualities;
        this.refresh();
        this.dispatchEvent(new CustomEvent("rated"));
      },
      (reading) => this.dispatchEvent(new CustomEvent("read", { detail: reading })),
    );
    this.#watcher.observe(this);
    this.refresh();
  }

  disconnectedCallback() {
    document.removeEventListener("visibilitychange", this.#onVisibility);
    for (const event of ["enterpictureinpicture", "leavepictureinpicture"]) this.removeEventListener(event, this.#onApart);
    this.#watcher.disconnect();
    clearTimeout(this.#soon);
    this.#speaking.stop();
    this.#statistics.stop();
    this.#quality.stop();
  }

  /** How the tiles are laid out, remembered for the next call. */
  get layout() {
    return remembered().layout;
  }

  set layout(/** @type {import("./arrange.js").Layout} */ layout) {
    remember({ layout });
    this.#pinned = null;
    this.refresh();
  }

  /** Shows somebody large until that is taken back. @param {string} id of the tile */
  #pin(id) {
    this.#pinned = this.#pinned === id ? null : id;
    this.refresh();
  }

  /** Who speaks is shown large, though not in turns faster than one can look. @param {string | undefined} id */
  #spoke(id) {
    if (id === undefined || id === this.#speaker) return;
    const now = performance.now();
    const wait = this.#spokeAt + SPEAKER_MS - now;
    clearTimeout(this.#soon);
    if (wait > 0) {
      // Who then still speaks, and began last.
      this.#soon = setTimeout(() => this.#spoke([...this.#talking].filter((one) => one !== "self").at(-1)), wait);
      return;
    }
    this.#speaker = id;
    this.#spokeAt = now;
    if (this.layout === "speaker" || this.layout === "sidebar") this.#layout();
  }

  /** Shows a reaction over somebody's picture, or with the name of who is on another page. @param {string} id of the tile @param {import("../sdk/messages.js").Emoji} emoji */
  react(id, emoji) {
    const { tile, peer } = this.#tiles.get(id) ?? {};
    if (tile?.hidden && peer) showReaction(this, emoji, nameOf(peer));
    else if (tile) showReaction(tile, emoji);
  }

  /** @param {number} page */
  #turn(page) {
    this.#page = page;
    this.#layout();
  }

  /** To the page of who speaks elsewhere. */
  #find() {
    const id = this.#elsewhere;
    const page = this.#pages().pages.findIndex((seats) => seats.some((seat) => seat.id === id));
    if (page >= 0) this.#turn(page);
  }

  /** Who speaks and is not on this page, by the id of the tile. */
  get #elsewhere() {
    return [...this.#talking].find((id) => this.#tiles.get(id)?.tile.hidden) ?? null;
  }

  /** How well somebody is connected, where that is not good. @param {string} id of the tile */
  qualityOf(id) {
    return this.#qualities.get(id) ?? null;
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
        const id = `${peer.id}:screen`;
        this.#tile(id, "screen", peer).show({ ...screenContent(peer, screen.track), ...this.#pinning(id) });
      }
      seen.add(peer.id);
      this.#tile(peer.id, "person", peer).show({ ...withHand(personContent(peer, this.qualityOf(peer.id)), this.#room.gestures.placeOf(peer.id)), ...this.#powersOver(peer), ...this.#pinning(peer.id) });
    }
    seen.add("self");
    this.#tile("self", "self", null).show(withHand(this.#selfContent(), this.#room.gestures.placeOf()));
    if (this.#pinned && !seen.has(this.#pinned)) this.#pinned = null;
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
      tile.addEventListener("pin", () => this.#pin(id));
      tile.addEventListener("mute", () => this.#moderate(peer, "mute"));
      tile.addEventListener("remove", () => this.#moderate(peer, "remove"));
    }
    this.#tiles.set(id, { tile, role, peer });
    this.append(tile);
    return tile;
  }

  /** There is something to choose from three tiles on. @param {string} id */
  #pinning(id) {
    const isPinned = this.#pinned === id;
    const screens = [...this.#room.peers.values()].filter((peer) => isShown(peer.media("screen"))).length;
    return { isPinned, canPin: isPinned || this.#room.peers.size + screens > 1 };
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
    const quality = this.qualityOf("self");
    const label = [t("You"), isSilent && t("microphone off"), !picture && t("camera off"), quality && within(ratingOf(quality))].filter(Boolean).join(", ");
    return { name: t("You"), label, picture, sound: [], isSilent, quality, status: "", advice: "", canRetry: false };
  }

  /** Who is on which page, and how much room there is for tiles. */
  #pages() {
    const { clientWidth: width, clientHeight } = this;
    // One's own tile comes last, screens come first.
    const order = { screen: 0, person: 1, self: 2 };
    const seats = [...this.#tiles]
      .map(([id, { role }]) => ({ id, role }))
      .sort((a, b) => order[a.role] - order[b.role]);
    const stage = { width, gap: width < 600 ? 6 : 10, layout: this.layout, pinned: this.#pinned, speaker: this.#speaker };
    const { pages, height } = paginate(seats, { ...stage, height: clientHeight });
    return { pages, stage: { ...stage, height } };
  }

  #layout() {
    if (this.clientWidth === 0 || this.clientHeight === 0) return this.#ask(new Map());
    const { pages, stage } = this.#pages();
    this.#page = Math.min(this.#page, pages.length - 1);
    const places = arrange(pages[this.#page], stage);
    for (const [id, { tile }] of this.#tiles) {
      const place = places.get(id);
      tile.hidden = !place;
      if (place) tile.put(place);
    }
    const speaker = this.#tiles.get(this.#elsewhere ?? "")?.peer;
    this.#pager.show({ page: this.#page, pages: pages.length, speaking: speaker ? nameOf(speaker) : "" });
    this.#ask(places);
  }

  /** A picture is in a window of its own, which is seen while this tab is not. @param {PictureInPictureEvent} event */
  #poppedOut({ pictureInPictureWindow: apart }) {
    const look = () => {
      this.#apart = apart.height;
      this.#layout();
    };
    apart.onresize = look;
    look();
  }

  /** Asks for pictures as large as they are seen, and for none of those that nobody sees. @param {Map<string, import("./arrange.js").Place>} places */
  #ask(places) {
    const looks = !document.hidden && !this.isCovered();
    // Firefox has none, and tells nothing of the pictures that it pops out.
    const apart = document.pictureInPictureElement ?? null;
    const wishes = [];
    for (const [id, { tile, role, peer }] of this.#tiles) {
      if (!peer) continue;
      /** @type {import("../sdk/messages.js").Source} */
      const source = role === "screen" ? "screen" : "camera";
      const here = (looks && places.get(id)?.height) || 0;
      // A window that has not said how large it is gets at least something.
      const height = apart && tile.contains(apart) ? Math.max(here, this.#apart, 1) : here;
      wishes.push({ peer, source, height: height * devicePixelRatio, priority: role === "screen" ? 1 : 0 });
    }
    this.#room.want(wishes);
  }
}

/** @param {{muted: boolean} | null} media */
function isShown(media) {
  return media !== null && !media.muted;
}

/** @param {Peer} peer @param {import("../sdk/qualities.js").Quality | null} rated where its connection is not good @returns {TileContent} */
function personContent(peer, rated) {
  const name = nameOf(peer);
  const camera = peer.media("camera");
  const microphone = peer.media("microphone");
  const screenSound = peer.media("screen-audio");
  const picture = camera && !camera.muted ? camera.track : null;
  const publishesMicrophone = peer.publications.find(({ source }) => source === "microphone");
  const isSilent = publishesMicrophone ? publishesMicrophone.muted : !microphone;
  const sound = [microphone, screenSound].flatMap((media) => (media ? [media.track] : []));
  const { status, advice } = statusOf(peer);
  const quality = status === "" ? rated : null;
  const label = [name, isSilent && t("microphone off"), !picture && t("camera off"), quality && within(ratingOf(quality)), status].filter(Boolean).join(", ");
  return { name, label, picture, sound, isSilent: isSilent && status === "", quality, status, advice, canRetry: peer.state === "failed" };
}

/**
 * @param {Peer} peer
 * @param {MediaStreamTrack} track
 * @returns {TileContent}
 */
function screenContent(peer, track) {
  const name = t("{name}’s screen", { name: nameOf(peer) });
  return { name, label: name, picture: track, sound: [], isSilent: false, status: "", advice: "", canRetry: false };
}

/** @param {TileContent} content @param {number} hand which in the queue, 0 for none @returns {TileContent} */
function withHand(content, hand) {
  return hand === 0 ? content : { ...content, hand, label: `${content.label}, ${t("hand raised, number {place}", { place: hand })}` };
}

/** @param {Peer} peer */
export function nameOf(peer) {
  return peer.name || t("Guest");
}

/** @param {Peer} peer */
function statusOf(peer) {
  switch (peer.state) {
    case "waiting":
    case "connecting":
      return { status: t("Connecting…"), advice: "" };
    case "unstable":
      return { status: t("Connection interrupted"), advice: t("Reconnecting…") };
    case "failed":
      return { status: PEER_FAILED.title, advice: PEER_FAILED.advice };
    default:
      return { status: "", advice: "" };
  }
}

customElements.define("call-stage", Stage);
