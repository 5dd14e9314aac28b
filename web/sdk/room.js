import { makeChat } from "./chat-messages.js";
import { passChat } from "./chat-ways.js";
import { DataError } from "./data-messages.js";
import { Emitter } from "./emitter.js";
import { ForwardedPeer } from "./forwarded-peer.js";
import { FrameEncryption } from "./frame-encryption.js";
import { Gestures } from "./gestures.js";
import { Links, SERVER_ID } from "./links.js";
import { LocalMedia } from "./local-media.js";
import { meshBudget } from "./mesh-budget.js";
import { noticeOf } from "./notices.js";
import { Order } from "./order.js";
import { Peer } from "./peer.js";
import { Qualities } from "./qualities.js";
import { RoomChat } from "./room-chat.js";
import { RoomData } from "./room-data.js";
import { RoomFiles } from "./room-files.js";
import { sessionUrl } from "./session-url.js";
import { whenSettled } from "./settling.js";
import { Signaling } from "./signaling.js";
import { VIDEO_CODECS } from "./video-codec.js";

/**
 * @typedef {import("./messages.js").PeerInfo} PeerInfo
 * @typedef {import("./messages.js").Source} Source
 * @typedef {import("./messages.js").ServerFrame} ServerFrame
 * @typedef {import("./messages.js").Moderate} Moderate
 * @typedef {import("./messages.js").Authenticated} Authenticated
 * @typedef {import("./chat-messages.js").ChatMessage} ChatMessage
 * @typedef {import("./join-error.js").JoinError} JoinError
 * @typedef {import("./file-receiver.js").FileReceiver} FileReceiver
 */

/** Another participant, however its media comes. @typedef {Peer | ForwardedPeer} Participant */
/** @typedef {"new" | "joining" | "waiting" | "joined" | "reconnecting" | "left"} RoomState */

/**
 * A room and everyone in it.
 *
 * ```js
 * const room = new Room();
 * room.on("peer-change", (peer) => { video.srcObject = new MediaStream([peer.media("camera").track]); });
 * await room.publish("camera", track);
 * await room.join("https://example.org/blue-otter", { name: "Ada" });
 * ```
 *
 * - `state`: the room's own state changed; `waiting`: until somebody who moderates admits this participant;
 * - `order`: what this participant may do has changed, or who waits, or whether the room is locked;
 * - `peer-joined`, `peer-left`, `peer-change`: someone came, went, or what their tile shows changed;
 * - `chat`: a text from someone (`own`: from here, and `peer` is who alone got it, if that was one); `chat-history`: what was said before this participant came, where the server keeps it;
 * - `data`: a message from someone (`send`), text or bytes; `data-gap`: so many reliable ones did not reach this participant, which took too little;
 * - `file`: someone offers a file; `accept` or `decline` it;
 * - `channel`: someone opened a data channel of another kind;
 * - `unreadable`: a message or file that was not encrypted with this room's key, or was where this side has none; `count`: so far;
 * - `speakers`: who is heard, the loudest first, where a server forwards media;
 * - `topology`: media goes another way from here on; the tiles stay, `peers` holds others under the same ids;
 * - `notice`: the server says something that a person should know (`kicked`, `muted`, `draining` with `ending`, `error`);
 * - `quality`: how well somebody is connected has changed (`peer`; this participant itself: `null`), where a server forwards media;
 * - `left`: the room is over, with the reason unless it was left on purpose.
 *
 * @extends {Emitter<{state: RoomState, order: Order, "peer-joined": Participant, "peer-left": Participant, "peer-change": Participant,
 *   chat: ChatMessage & {peer: Participant | null, own: boolean}, "chat-history": {messages: import("./room-chat.js").SaidBefore[]}, data: import("./room-data.js").RoomMessage, "data-gap": {missed: number}, file: FileReceiver,
 *   channel: {peer: Peer, channel: RTCDataChannel}, unreadable: {from: string, count: number}, speakers: {peer: Participant, level: number}[], topology: import("./messages.js").Topology, notice: import("./notices.js").Notice, quality: {peer: Participant | null}, left: JoinError | null}>}
 */
export class Room extends Emitter {
  /** @type {RoomState} */ state = "new";
  /** This participant's id. */ id = "";
  /** Name of the room. */ name = "";
  /** How media goes; a server may change it while people talk. @type {import("./messages.js").Topology} */ topology = "mesh";
  /** What this participant may do, and how the room is kept. */ order = new Order();
  /** Everyone else, in the order they came. @type {Map<string, Participant>} */ peers = new Map();
  /** Raised hands and reactions. */ gestures = new Gestures(this, (event, data) => this.#signaling?.request(event, data));
  /** How well everyone is connected, where a server forwards media. */ quality = new Qualities();
  /** What this participant sends. */ local = new LocalMedia();

  /** The connection with a server that forwards media; `null` where none does. */
  get link() {
    return this.#links.server;
  }

  /** Messages and files that could not be read: not encrypted with this room's key, or encrypted where this side has none. */ unreadable = 0;

  /** Whether sound, pictures, messages and files are encrypted end to end. */
  get isEncrypted() {
    return this.#encryption !== null;
  }

  /** Whether files can be offered: they go directly to their receiver, on a connection that the server lets both agree on. */
  get canSendFiles() {
    return this.topology === "mesh" || this.order.mayTalk;
  }

  /** What this participant may do, as the server names it. */
  get permissions() {
    return this.order.permissions;
  }

  /** @type {Signaling | null} */
  #signaling = null;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** @type {FrameEncryption | null} */
  #encryption = null;
  /** @type {import("./video-codec.js").VideoCodec | null} */
  #videoCodec = null;
  /** What was asked for last. */ #wanted = "";
  #links = new Links({
    peers: this.peers,
    connect: (info, options) => this.#connect(info, options),
    tend: (peer) => this.#tend(peer),
  });
  #data = new RoomData(this.#links, this.peers);
  #chat = new RoomChat((message, to) =>
    passChat(message, to, { peers: this.peers.values(), isForwarded: this.link !== null, isKept: this.order.chatHistory > 0, say: (said, whom) => this.#signaling?.send("chat", said, whom) }),
  );
  #files = new RoomFiles((id) => (this.canSendFiles ? this.#links.forDataOf(id) : null));
  /** @type {import("./room-seal.js").RoomSeal | null} */
  #seal = null;
  /** Stops looking whether a move of the room is over. @type {(() => void) | null} */
  #stopLooking = null;
  /** Moves so far. */ #moves = 0;
  #onPageHide = () => this.leave();

  /**
   * @param {string | URL} url what a person would open, or the WebSocket's own address
   * @param {{name?: string, metadata?: Record<string, unknown>, token?: string, encryption?: FrameEncryption | null, videoCodec?: import("./video-codec.js").VideoCodec | null}} [options]
   *   `encryption`: of everything but who is there, end to end; default what the link asks for (`#key=…`).
   *   `videoCodec`: what cameras and screens are sent in, where both ends can; default what the browser likes best
   * @returns {Promise<void>} rejects with `JoinError`; with a `RangeError` or `NotSupportedError` where the link asks for
   *   an encryption that there cannot be
   */
  async join(url, { name = "", metadata = {}, token, encryption = FrameEncryption.ofLink(url), videoCodec = null } = {}) {
    if (this.state !== "new") throw new DOMException("a Room joins once", "InvalidStateError");
    if (videoCodec !== null && !VIDEO_CODECS.includes(videoCodec)) throw new RangeError(`videoCodec ${videoCodec}: one of ${VIDEO_CODECS.join(", ")}`);
    this.#encryption = encryption;
    this.#videoCodec = videoCodec;
    this.#setState("joining");
    this.#data.on("data", (message) => this.emit("data", message));
    this.#data.on("data-gap", (gap) => this.emit("data-gap", gap));
    this.#chat.on("chat", ({ from, message }) => this.emit("chat", { ...message, peer: this.peers.get(from) ?? null, own: false }));
    this.#chat.on("before", (messages) => this.emit("chat-history", { messages }));
    this.#files.on("file", (file) => this.emit("file", file));
    for (const said of [this.#data, this.#chat, this.#files]) said.addEventListener("unreadable", (event) => this.#unread(/** @type {CustomEvent<string>} */ (event).detail));
    const address = sessionUrl(url, { token });
    this.name = decodeURIComponent(address.pathname.split("/").pop() ?? "");
    this.#seal = this.#data.seal = this.#chat.seal = this.#files.seal = encryption?.seal(this.name) ?? null;
    const signaling = (this.#signaling = new Signaling(address, { name, metadata }));
    signaling.on("authenticated", ({ data, again }) => this.#joined(data, again));
    signaling.on("resumed", ({ ice_servers }) => {
      this.#useIceServers(ice_servers);
      this.#setState("joined");
    });
    signaling.on("waiting", () => this.#setState("waiting"));
    signaling.on("lost", () => this.#setState("reconnecting"));
    signaling.on("frame", (frame) => this.#frame(frame));
    signaling.on("closed", (error) => this.#ended(error));
    globalThis.addEventListener?.("pagehide", this.#onPageHide);
    await signaling.open();
  }

  /** Leaves for good. */
  leave() {
    if (this.state === "left") return;
    // What was said before is still being sealed.
    if (this.#chat.sending) this.#chat.sending.then(() => this.leave());
    else if (this.#signaling) this.#signaling.close();
    else this.#ended(null);
  }

  /**
   * Sends a track to everyone, now and those who come later. A second call for the same source replaces the track,
   * without a negotiation.
   *
   * @param {Source} source
   * @param {MediaStreamTrack | null} track `null`: the line stays open and nothing is sent, as with a camera that is off
   * @param {{muted?: boolean, kind?: "audio" | "video"}} [options]
   */
  async publish(source, track, { muted = track === null, kind } = {}) {
    // What may not be sent goes nowhere: the line stays open, silent.
    if (!this.#mayPublish(source)) [track, muted] = [null, true];
    const known = this.local.get(source);
    const wasMuted = known?.publication.muted ?? false;
    const { publication, isNew } = this.local.set(
      source,
      kind ?? /** @type {any} */ (track?.kind) ?? known?.publication.kind ?? (source === "microphone" ? "audio" : "video"),
      track,
      muted,
    );
    if (isNew) this.#announce("publish", publication);
    else if (wasMuted !== muted) this.#announce(muted ? "mute" : "unmute", publication);
    await this.#update(source);
  }

  /** Stops sending a source. The track itself is the caller's to stop. @param {Source} source */
  async unpublish(source) {
    const old = this.local.delete(source);
    if (!old) return;
    this.#announce("unpublish", old.publication);
    await this.#update(source);
  }

  /** Tells everyone that a track is silent or not, and makes it so. @param {Source} source @param {boolean} muted */
  setMuted(source, muted) {
    const known = this.local.get(source);
    if (!known || known.publication.muted === muted) return;
    known.publication.muted = muted;
    if (known.track) known.track.enabled = !muted;
    this.#announce(muted ? "mute" : "unmute", known.publication);
  }

  /**
   * Keeps order in the room, for who may (`order.mayModerate`): mutes or removes somebody, changes what it may do, admits
   * or denies who waits, locks the room, closes it.
   *
   * @param {Moderate} what
   * @returns {Promise<void>} rejects with `RequestError` where it is not permitted, or not possible
   */
  async moderate(what) {
    await this.#signaling?.request("moderate", what);
  }

  /**
   * Shows another token, before the one ends by which this participant joined (`order.endsAt`).
   *
   * @param {string} token of the same identity and room
   */
  async renew(token) {
    if (!this.#signaling) return;
    const { token_expires_in_ms, ice_servers } = await this.#signaling.request("token", { token });
    this.#signaling.useToken(token);
    // Credentials of relays end with the token that they came with.
    if (ice_servers) this.#useIceServers(ice_servers);
    this.order.renewed(token_expires_in_ms);
    this.emit("order", this.order);
  }

  /** @param {{name?: string, metadata?: Record<string, unknown>}} change */
  async describe(change) {
    if (!this.#signaling) return;
    this.#signaling.identity = { ...this.#signaling.identity, ...change };
    await this.#signaling.request("metadata", change);
  }

  /**
   * Sends a text, over the data channels; by way of the signaling where a server forwards media, or keeps what is said.
   * @param {string} text
   * @param {{to?: string}} [options] `to`: the id of one participant, who alone gets it; default everyone
   */
  sendChat(text, { to } = {}) {
    if (to !== undefined && !this.peers.has(to)) throw new RangeError(`nobody of the id ${to} is there`);
    const message = makeChat(text, to !== undefined);
    this.#chat.send(message, to);
    this.emit("chat", { ...message, peer: this.peers.get(to ?? "") ?? null, own: true });
  }

  /**
   * Sends a text or bytes to everyone, or to some: directly in a mesh, by way of the server where that forwards. Reliable
   * messages arrive in the order in which they were sent; what is lossy arrives at once, or never.
   * @param {string | ArrayBuffer | ArrayBufferView} data 65,536 bytes at most; lossy, 1,100 with the topic
   * @param {{to?: import("./room-data.js").DataReceivers, topic?: string, lossy?: boolean}} [options] `to`: ids; default `"all"`
   * @returns {Promise<void>} settles when there is room for another; rejects with `DataError`
   */
  async send(data, options = {}) {
    if (this.id === "" || this.state === "left") throw new DataError("not_joined");
    if (!this.order.mayTalk) throw new DataError("not_permitted");
    await this.#data.send(data, options);
  }

  /**
   * Offers a file to some, or to everyone.
   *
   * @param {File} file
   * @param {Iterable<Participant>} [peers]
   * @returns {import("./file-sender.js").FileSender[]} one for each whom a file can reach: who came by HTTP has no data channels
   */
  sendFile(file, peers = this.peers.values()) {
    if (!this.canSendFiles) return [];
    const reached = [...peers].filter((peer) => peer.protocol !== "http");
    return reached.map((one) => this.#files.send(file, this.#links.forData(one)));
  }

  /**
   * Says how large each picture is shown, in pixels, so that a server that forwards sends no more of it: 0 for one that
   * nobody sees. In a mesh it says nothing.
   *
   * @param {{peer: Participant, source: Source, height: number, priority?: number}[]} wishes
   */
  want(wishes) {
    if (!this.link) return;
    const tracks = wishes.flatMap(({ peer, source, height, priority = 0 }) => {
      const publication = peer.publications.find((one) => one.source === source);
      return publication ? [{ stream: publication.stream, max_height: Math.round(height), priority }] : [];
    });
    const text = JSON.stringify(tracks);
    if (text === this.#wanted) return;
    this.#wanted = text;
    this.#signaling?.send("subscribe", { tracks }, [SERVER_ID]);
  }

  /**
   * @param {Authenticated} data
   * @param {boolean} again the old session was gone, so everyone is new to us and we are new to them
   */
  #joined(data, again) {
    if (again) this.#forgetAll();
    this.id = data.peer_id;
    this.#seal?.begin(this.id);
    this.name = data.room ?? this.name;
    this.topology = data.topology ?? "mesh";
    this.order.joined(data);
    this.gestures.begin(this.id);
    this.#useIceServers(data.ice_servers ?? []);
    this.#hush();
    this.#data.begin(this.topology);
    for (const publication of this.local.publications()) this.#announce("publish", publication);
    if (this.topology === "sfu") this.#links.connectToServer();
    for (const info of data.peers ?? []) this.#meet(info, false);
    if (again) this.#files.joinedAnew();
    this.#setState("joined");
  }

  /** @param {ServerFrame} frame */
  #frame(frame) {
    const { event, data, from } = frame;
    switch (event) {
      case "joined":
        this.#meet({ tracks: [], protocol: "base", ...data, id: data.peer_id }, true);
        break;
      case "left":
        this.#files.left(data.peer_id, data.reason === "connection_lost");
        this.#forget(data.peer_id);
        break;
      case "offer":
      case "answer":
      case "candidate":
        if (from) this.#linkTo(from, event === "offer")?.signal(event, data);
        break;
      case "topology":
        if (data.settled) this.#letGo();
        else this.#move(data);
        break;
      case "forward":
        if (from === SERVER_ID) this.link?.forward(data);
        break;
      case "layers":
        if (from === SERVER_ID) this.link?.rest(data);
        break;
      case "speakers":
        if (from === SERVER_ID) this.#speakers(data);
        break;
      case "track":
        if (from) this.peers.get(from)?.publication(data);
        break;
      case "metadata":
        if (from) this.peers.get(from)?.describe(data);
        break;
      case "hand":
      case "reaction":
        this.gestures.told(frame);
        break;
      case "chat":
      case "chat-history":
        this.#chat.told(frame);
        break;
      case "permissions": {
        const before = this.local.publications().filter(({ source }) => this.#mayPublish(source));
        this.order.permissions = data.permissions;
        this.#hush();
        for (const publication of this.local.publications()) if (!before.includes(publication)) this.#announce("publish", publication);
        this.emit("order", this.order);
        break;
      }
      case "room":
        this.order.changed(data);
        this.emit("order", this.order);
        break;
      case "lobby":
        this.order.waiting = data.waiting;
        this.emit("order", this.order);
        break;
      case "muted":
        this.#mutedByOther(data.track);
        break;
      case "quality":
        if (from === SERVER_ID) for (const id of this.quality.told(data, (id) => id === this.id || this.peers.has(id))) this.emit("quality", { peer: this.peers.get(id) ?? null });
        break;
      case "announcement":
      case "kicked":
      case "draining":
      case "error":
        this.emit("notice", noticeOf(event, data));
        if (event === "kicked") this.leave();
        break;
    }
  }

  /**
   * The connection with who signals. Who was not announced is met this way: those who were there, on a base server.
   *
   * @param {string} id
   * @param {boolean} offers
   */
  #linkTo(id, offers) {
    if (id === SERVER_ID) return this.link;
    const known = this.peers.get(id) ?? (this.topology === "mesh" ? this.#meet({ id, tracks: [], protocol: "base" }, false) : null);
    return known && this.#links.of(known, offers);
  }

  /**
   * Media is to go another way: the new connections are made beside the old ones, which stay until the server says that
   * everybody has the new ones.
   *
   * @param {import("./messages.js").TopologyChange} change
   */
  #move({ topology, peers = [] }) {
    const move = ++this.#moves;
    this.topology = topology;
    this.#links.move(topology);
    this.#data.move(topology);
    for (const info of peers) this.#meet(info, this.id > info.id);
    this.#wanted = "";
    this.#share();
    this.#stopLooking?.();
    this.#stopLooking = whenSettled(
      () => this.#links.look(topology),
      async () => {
        await this.#data.settle(topology);
        // Another move may have begun meanwhile, to the same shape as well.
        if (move === this.#moves) this.#signaling?.send("settled", { topology });
      },
    );
    this.emit("topology", topology);
  }

  /** Everybody has the connections of the room's shape. */
  #letGo() {
    this.#stopLooking?.();
    this.#stopLooking = null;
    this.#data.letGo(this.topology);
    this.#links.letGo(this.topology);
    if (this.topology === "mesh") this.quality.clear();
    for (const peer of this.peers.values()) this.emit("peer-change", peer);
  }

  /** @param {Source} source */
  async #update(source) {
    await Promise.all(this.#links.all().map((link) => link.update(source)));
  }

  /** @param {import("./messages.js").Speakers} data */
  #speakers({ speakers }) {
    const heard = speakers.flatMap(({ peer_id, level }) => {
      const peer = this.peers.get(peer_id);
      return peer ? [{ peer, level }] : [];
    });
    this.emit("speakers", heard);
  }

  /**
   * @param {PeerInfo} info
   * @param {boolean} offers whether we were there first
   * @returns {Participant}
   */
  #meet(info, offers) {
    const known = this.peers.get(info.id);
    if (known) return known;
    const peer = this.link && this.topology === "sfu" ? new ForwardedPeer(info, this.link) : this.#connect(info, { offers });
    this.peers.set(info.id, peer);
    this.gestures.met(info);
    this.#tend(peer);
    this.#share();
    this.emit("peer-joined", peer);
    return peer;
  }

  /** Hands on what comes from somebody. @param {Participant} peer */
  #tend(peer) {
    peer.addEventListener("change", () => this.emit("peer-change", this.peers.get(peer.id) ?? peer));
    if (!(peer instanceof Peer)) return;
    peer.on("message", (text) => this.#chat.hear(peer.id, text));
    peer.on("file", (channel) => this.#files.offered(channel, peer.id));
    peer.on("channel", (channel) => this.emit("channel", { peer, channel }));
  }

  /**
   * @param {PeerInfo} info
   * @param {{offers?: boolean, carriesMedia?: boolean}} options
   */
  #connect(info, { offers = this.id > info.id, carriesMedia = true }) {
    const link = new Peer({
      info,
      polite: info.id === SERVER_ID || this.id < info.id,
      offers,
      iceServers: this.#iceServers,
      local: this.local,
      encryption: this.#encryption,
      videoCodec: this.#videoCodec,
      forwarded: info.id === SERVER_ID,
      carriesMedia,
      send: (event, data) => this.#signaling?.send(event, data, [info.id]),
    });
    this.#data.tend(link, info.id === SERVER_ID);
    return link;
  }

  #forgetAll() {
    this.#stopLooking?.();
    this.#stopLooking = null;
    for (const id of [...this.peers.keys()]) this.#forget(id);
    this.#links.forgetServer();
    this.#wanted = "";
  }

  /** @param {string} id */
  #forget(id) {
    const peer = this.peers.get(id);
    if (!peer) return;
    this.peers.delete(id);
    this.quality.forget(id);
    this.#links.forget(peer);
    this.#share();
    this.emit("peer-left", peer);
  }

  /** Shares what this side can send among those who get it. */
  #share() {
    if (this.topology !== "mesh") return;
    const budget = meshBudget(this.peers.size);
    for (const peer of this.peers.values()) if (peer instanceof Peer) peer.limit(budget);
  }

  /** @param {string} from */
  #unread(from) {
    this.unreadable += 1;
    this.emit("unreadable", { from, count: this.unreadable });
  }

  /** @param {RTCIceServer[]} servers */
  #useIceServers(servers) {
    this.#iceServers = servers;
    // Credentials are limited in time: those who restart ICE later need the new ones.
    for (const { connection } of this.#links.all()) {
      connection.setConfiguration({ ...connection.getConfiguration(), iceServers: servers });
    }
  }

  /** Whether it may be sent, as far as is known: before the room is joined nothing is. @param {Source} source */
  #mayPublish(source) {
    return this.id === "" || this.order.mayPublish(source);
  }

  /** Sends no more of what may not be sent. */
  #hush() {
    for (const { source, kind } of this.local.publications()) {
      if (this.#mayPublish(source) || !this.local.get(source)?.track) continue;
      this.local.set(source, kind, null, true);
      this.#update(source);
    }
  }

  /** @param {string} id of the track */
  #mutedByOther(id) {
    const publication = this.local.publications().find((one) => one.id === id);
    if (!publication) return;
    const track = this.local.get(publication.source)?.track;
    publication.muted = true;
    if (track) track.enabled = false;
    this.emit("notice", { kind: "muted", text: publication.source });
  }

  /**
   * @param {import("./messages.js").TrackChange["action"]} action
   * @param {import("./messages.js").Publication} publication
   */
  #announce(action, publication) {
    if (this.state === "new" || this.state === "left" || this.#signaling?.isBase) return;
    if (!this.id) return; // said when joined
    if (action !== "unpublish" && !this.#mayPublish(publication.source)) return;
    this.#signaling?.send("track", { action, track: { ...publication } });
  }

  /** @param {JoinError | null} error */
  #ended(error) {
    globalThis.removeEventListener?.("pagehide", this.#onPageHide);
    this.#files.close();
    this.#forgetAll();
    this.#encryption?.close();
    this.#setState("left");
    this.emit("left", error);
  }

  /** @param {RoomState} state */
  #setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.emit("state", state);
  }
}
