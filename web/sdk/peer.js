import { ChatChannel } from "./chat-channel.js";
import { DataChannels } from "./data-channels.js";
import { isDataChannel } from "./data-messages.js";
import { DescribedPeer } from "./described-peer.js";
import { withRoleKept } from "./dtls-role.js";
import { FILE_LABEL } from "./file-messages.js";
import { flowing } from "./flowing.js";
import { IdleChannels } from "./idle-channels.js";
import { bare, isReceiving, received } from "./incoming.js";
import { fit } from "./mesh-budget.js";
import { Resting } from "./resting.js";
import { fingerprints, isOtherConnection, sessions, withListedFormats } from "./sdp-session.js";
import { isBase, kindOf } from "./sources.js";
import { prefer, qualities } from "./video-codec.js";

/**
 * @typedef {import("./messages.js").PeerInfo} PeerInfo
 * @typedef {import("./messages.js").Publication} Publication
 * @typedef {import("./messages.js").Source} Source
 * @typedef {import("./local-media.js").LocalMedia} LocalMedia
 * @typedef {import("./incoming.js").Incoming} Incoming
 * @typedef {import("./incoming.js").Received} Received
 */

/** @typedef {"waiting" | "connecting" | "connected" | "unstable" | "failed" | "closed"} PeerState */

/**
 * One who joins waits this long for the offer of those who were there, then makes its own. Negotiation is perfect, so
 * both at once does no harm.
 */
const OFFER_WITHIN_MS = 6_000;
/** `disconnected` often mends itself; after this long it gets an ICE restart. */
const UNSTABLE_MS = 4_000;
/** A connection that has not come up after this long gets an ICE restart; some never say that they failed. */
const CONNECT_WITHIN_MS = 12_000;
/** Between two restarts. */
const RESTART_EVERY_MS = 7_000;
/** Restarts in a row that may lead to nothing; then the connection is made anew. */
const RESTARTS_MAX = 2;
/** After so long without a connection the page is told that it failed. It is tried on after that. */
const FAILED_AFTER_MS = 20_000;
/** After a refused answer, the next offer waits this long; twice as long after each further one. */
const REFUSED_WAIT_MS = 1_000;
/** The longest such wait. */
const REFUSED_WAIT_MAX_MS = 60_000;
/** Two looks at a connection are at least this far apart. */
const WATCH_MS = 50;
/** Candidates kept while their description is on its way; a browser makes some dozens. */
const EARLY_CANDIDATES_MAX = 100;
/** Lines of each kind that a server is offered for what others send. */
const RECEIVING_LINES = 4;

/**
 * The connection with one other participant, or with a server that forwards what the others send.
 *
 * - `change`: something that a tile shows (state, tracks, name);
 * - `message`: text from its chat channel;
 * - `file`: a channel on which it offers a file;
 * - `channel`: any other data channel that it opened.
 */
export class Peer extends DescribedPeer {
  /** What its media came by before the room moved, until that is let go of. @type {import("./forwarded-peer.js").ForwardedPeer | null} */ former = null;
  /**
   * The connection itself, for what this class does not offer. Another one takes its place when ICE restarts do not
   * help: look it up each time.
   *
   * @type {RTCPeerConnection}
   */
  connection;
  /** @type {ChatChannel} */ chat;
  /** What is said over its channels `data`. @type {DataChannels} */ data;

  /** @type {PeerState} */
  #ownState = "waiting";
  #carriesMedia;
  /** Data channels but for the chat. */
  #channels = new IdleChannels(() => !this.#carriesMedia && this.close());
  #polite;
  #forwarded;
  #renegotiates;
  #send;
  #local;
  #encryption;
  #videoCodec;
  #makingOffer = false;
  #ignoreOffer = false;
  #settingAnswer = false;
  /** Answers refused since the last that was taken. */
  #refused = 0;
  #negotiated = false;
  /** @type {RTCIceCandidateInit[]} */
  #early = [];
  /** One at a time: descriptions and candidates are applied in the order they came. @type {Promise<void>} */
  #inbox = Promise.resolve();
  #resting = new Resting();
  /** @type {Map<Source, RTCRtpTransceiver>} */
  #sending = new Map();
  /** @type {Incoming[]} */
  #receiving = [];
  /** What a server says that it forwards, by section. @type {Map<string, string>} */
  #forwards = new Map();
  #restarts = 0;
  #restartedAt = 0;
  /** Whether ICE has failed on this connection; Firefox then closes its data channels for good. */
  #hasFailed = false;
  /** Whether this connection was ever up. */ #wasUp = false;
  /** What named the other side's end of the connection before this one. @type {Set<string>} */
  #former = new Set();
  /** @type {number | null} */
  #downSince = null;
  /** @type {import("./mesh-budget.js").Budget | null} */
  #budget = null;
  /** @type {number | undefined} */
  #timer;
  /** @type {number | undefined} */
  #offerTimer;
  /** Runs while offers wait. @type {number | undefined} */
  #againTimer;

  /**
   * @param {object} options
   * @param {PeerInfo} options.info
   * @param {boolean} options.polite whether this side gives way when both offer
   * @param {boolean} options.offers whether this side was there first
   * @param {RTCIceServer[]} options.iceServers
   * @param {LocalMedia} options.local what this side sends
   * @param {import("./frame-encryption.js").FrameEncryption | null} [options.encryption]
   * @param {import("./video-codec.js").VideoCodec | null} [options.videoCodec] the codec for pictures that is offered first
   * @param {boolean} [options.forwarded] whether the other side is a server that forwards: it is sent each picture in
   *   several qualities, and has no data channels but `data`
   * @param {boolean} [options.carriesMedia] `false` for data channels alone; it is closed when none is left
   * @param {(event: "offer" | "answer" | "candidate", data: any) => void} options.send
   */
  constructor({ info, polite, offers, iceServers, local, encryption = null, videoCodec = null, forwarded = false, carriesMedia = true, send }) {
    super(info);
    this.#carriesMedia = carriesMedia;
    this.#polite = polite;
    this.#forwarded = forwarded;
    this.#renegotiates = info.protocol !== "base";
    this.#send = send;
    this.#local = local;
    this.#encryption = encryption;
    this.#videoCodec = videoCodec;

    this.connection = this.#connect({ iceServers, bundlePolicy: "max-bundle" });
    this.chat = new ChatChannel(this.connection);
    this.chat.on("message", (text) => this.emit("message", text));
    this.chat.on("open", () => this.emit("change", null));
    this.data = new DataChannels(this.connection, (channel) => this.#channels.add(channel));

    if (offers) this.#begin();
    else this.#offerTimer = setTimeout(() => this.#begin(), OFFER_WITHIN_MS);
    if (!carriesMedia) this.#channels.start();
  }

  /** @returns {PeerState} */
  get state() {
    const own = this.#ownState;
    return this.former && own !== "connected" && own !== "closed" ? this.former.state : own;
  }

  /** Whether this connection itself is up. */
  get isUp() {
    return this.#ownState === "connected";
  }

  /**
   * A description or candidate from the other side.
   *
   * @param {"offer" | "answer" | "candidate"} event
   * @param {any} data
   * @returns {Promise<void>} settles when it was applied or refused
   */
  signal(event, data) {
    const apply = () => (event === "candidate" ? this.#candidate(data) : this.#description(data));
    this.#inbox = this.#inbox.then(apply).catch((error) => {
      // What another participant sends must not end this call; the state machine of the connection is unharmed.
      console.warn(`signaling with ${this.id}: ${event} not applied`, error);
    });
    return this.#inbox;
  }

  /**
   * Sends `source` to this peer from now on, or stops (a `null` track keeps the line open and silent).
   *
   * @param {Source} source
   */
  async update(source) {
    const media = this.#media(source);
    const transceiver = this.#sending.get(source);
    if (transceiver) {
      if (transceiver.sender.track !== (media?.track ?? null)) await transceiver.sender.replaceTrack(media?.track ?? null);
      const direction = media ? this.#direction(source) : "inactive";
      if (transceiver.direction !== direction && transceiver.direction !== "stopped") transceiver.direction = direction;
      if (source === "camera") await this.#fit();
      return;
    }
    // Before the first description, the lines are made together with it.
    if (!media || !this.#negotiated || !this.#renegotiates) return;
    this.#addLine(source);
  }

  /**
   * Opens a data channel to this peer.
   *
   * @param {string} label
   * @param {RTCDataChannelInit} [init]
   */
  openChannel(label, init) {
    return this.#channels.add(this.connection.createDataChannel(label, init));
  }

  /** Sends what this side sends from now on, or no more of it: then it closes when no data channel needs it. @param {boolean} carries */
  async carryMedia(carries) {
    if (this.#carriesMedia === carries) return;
    this.#carriesMedia = carries;
    if (!carries && this.#channels.areNone) return this.close();
    await Promise.all([...new Set([...this.#sending.keys(), ...this.#local.sources()])].map((source) => this.update(source)));
  }

  /**
   * What arrives from this peer as `source`, or `null`. A peer that does not say what it sends (the base protocol, a
   * bare native client) gets it from the order: first sound, first picture, and a second picture is a screen.
   *
   * @param {Source} source
   * @returns {Received | null}
   */
  media(source) {
    const publication = this.publications.find((one) => one.source === source);
    if (publication) return flowing(this.incoming(publication), this.former, publication);
    const live = this.#live();
    if (this.publications.length > 0) return null;
    const kind = source === "microphone" ? "audio" : "video";
    const rank = { microphone: 0, camera: 0, screen: 1 }[/** @type {string} */ (source)];
    if (rank === undefined) return null;
    const found = live.filter(({ track }) => track.kind === kind)[rank];
    if (!found || (source === "screen" && found.track.muted)) return null;
    return received(found, false);
  }

  /**
   * What arrives of a publication, whoever's it is.
   *
   * @param {Publication} publication
   * @returns {Received | null}
   */
  incoming(publication) {
    const live = this.#live().filter(({ track }) => track.kind === publication.kind);
    const found = live.find((one) => this.#streamOf(one) === bare(publication.stream));
    return found ? received(found, publication.muted) : null;
  }

  /** A server says what it forwards on a section, or that nothing is on it. @param {import("./messages.js").Forward} forward */
  forward({ mid, stream }) {
    this.#forwards.set(mid, bare(stream ?? ""));
    this.emit("change", null);
  }

  /** A server says which qualities of what this side sends are of use. @param {import("./messages.js").Layers} layers */
  rest(layers) {
    this.#resting.apply(this.#local, (source) => this.sender(source), layers);
  }

  /** @returns {Incoming[]} */
  #live() {
    return this.#receiving.filter(({ track, transceiver }) => track.readyState === "live" && isReceiving(transceiver));
  }

  /** @param {Incoming} incoming */
  #streamOf({ stream, transceiver }) {
    return this.#forwards.get(transceiver.mid ?? "") ?? stream;
  }

  /** @param {Source} source @returns {RTCRtpTransceiverDirection} */
  #direction(source) {
    return isBase(source) && !this.#forwarded ? "sendrecv" : "sendonly";
  }

  /** The sender of a source, for its statistics. @param {Source} source */
  sender(source) {
    return this.#sending.get(source)?.sender ?? null;
  }

  /**
   * Limits the picture that this peer gets.
   *
   * @param {import("./mesh-budget.js").Budget} budget
   */
  limit(budget) {
    this.#budget = budget;
    this.#fit();
  }

  /** Tries again at once, for a person who asks for it. */
  retry() {
    if (this.#ownState === "closed") return;
    this.#downSince = this.#restartedAt = performance.now();
    this.#restarts = 1;
    this.connection.restartIce();
    this.#watch();
  }

  close() {
    clearTimeout(this.#timer);
    this.#disconnect();
    this.#channels.stop();
    this.data.close();
    this.#state("closed");
  }

  /** @param {RTCConfiguration} configuration */
  #connect(configuration) {
    const connection = new RTCPeerConnection(configuration);
    connection.onicecandidate = ({ candidate }) => candidate && this.#send("candidate", candidate.toJSON());
    connection.onnegotiationneeded = () => this.#offer();
    connection.onconnectionstatechange = () => this.#watch();
    connection.oniceconnectionstatechange = () => this.#watch();
    connection.ontrack = (event) => this.#received(event);
    connection.ondatachannel = ({ channel }) => this.#opened(channel);
    return connection;
  }

  /** What names the other side's end of a connection. @param {string} [sdp] */
  #names(sdp) {
    return this.#forwarded ? sessions(sdp) : fingerprints(sdp);
  }

  #disconnect() {
    clearTimeout(this.#offerTimer);
    clearTimeout(this.#againTimer);
    this.#againTimer = undefined;
    const { connection } = this;
    connection.onicecandidate = connection.onnegotiationneeded = connection.onconnectionstatechange = null;
    connection.oniceconnectionstatechange = connection.ontrack = connection.ondatachannel = null;
    connection.close();
    this.#channels.lose();
  }

  /**
   * Lets go of the connection and makes another, where ICE restarts do not help: the other side sees another certificate
   * in the next offer and does likewise. Data channels end with it.
   *
   * @param {boolean} offers whether this side makes that offer
   */
  #renew(offers) {
    const configuration = this.connection.getConfiguration();
    this.#former = this.#names(this.connection.remoteDescription?.sdp);
    this.#disconnect();
    this.#makingOffer = this.#ignoreOffer = this.#settingAnswer = this.#negotiated = this.#hasFailed = this.#wasUp = false;
    this.#restarts = 0;
    this.#restartedAt = performance.now();
    this.#early = [];
    this.#sending.clear();
    this.#receiving = [];
    this.#forwards.clear();
    // A certificate that it was given would go on with it.
    this.connection = this.#connect({ ...configuration, certificates: undefined });
    this.chat.move(this.connection);
    this.data.move(this.connection);
    if (offers) this.#begin();
    this.emit("change", null);
    this.#watch();
  }

  /** Makes the first offer: a line for sound, one for the picture, and the chat channel. */
  #begin() {
    if (this.#negotiated) return;
    this.#negotiated = true;
    if (!this.#forwarded && this.#carriesMedia) this.chat.create();
    for (const source of this.#sources()) this.#addLine(source);
    if (!this.#forwarded) return;
    this.data.open();
    this.#addReceivingLines();
  }

  /** Lines on which a server can send at once; where they do not suffice, it offers more. */
  #addReceivingLines() {
    for (const kind of ["audio", "video"].flatMap((kind) => Array(RECEIVING_LINES).fill(kind))) {
      const transceiver = this.connection.addTransceiver(kind, { direction: "recvonly" });
      this.#encryption?.limitCodecs(transceiver);
      this.#encryption?.decrypt(transceiver);
    }
  }

  /** Makes the picture one that fits; before the connection is up, some browsers have no parameters to change. */
  async #fit() {
    const sender = this.connection.connectionState === "connected" ? this.sender("camera") : null;
    if (!this.#forwarded) await fit(sender, this.#budget);
    else if (sender?.track) this.#resting.follow(sender, qualities("camera", this.#videoCodec, sender.track.getSettings()));
  }

  /** @param {Source} source */
  #addLine(source) {
    const media = this.#media(source);
    const transceiver = this.connection.addTransceiver(media?.track ?? kindOf(source), {
      direction: this.#direction(source),
      streams: [this.#local.stream(source)],
      ...(this.#forwarded && kindOf(source) === "video" ? { sendEncodings: qualities(source, this.#videoCodec, media?.track?.getSettings()) } : {}),
    });
    this.#encryption?.protect(transceiver);
    if (this.#videoCodec) prefer(transceiver, this.#videoCodec, this.#encryption?.codecs("video"));
    this.#sending.set(source, transceiver);
  }

  /** Answers on the lines that the other side's first offer brought, instead of adding lines of its own. */
  async #answerOnItsLines() {
    for (const source of this.#sources()) {
      const free = this.connection
        .getTransceivers()
        .find((one) => one.receiver.track.kind === kindOf(source) && ![...this.#sending.values()].includes(one) && one.currentDirection !== "stopped");
      if (free && isBase(source)) {
        free.direction = "sendrecv";
        free.sender.setStreams(this.#local.stream(source));
        this.#encryption?.encrypt(free);
        this.#sending.set(source, free);
        await free.sender.replaceTrack(this.#media(source)?.track ?? null);
      } else if (this.#media(source) && this.#renegotiates) {
        this.#addLine(source);
      }
    }
  }

  async #offer() {
    if (!this.#renegotiates && this.connection.remoteDescription) return;
    if (!this.#negotiated) return; // the other side offers first
    if (this.#againTimer !== undefined) return;
    this.#state("connecting");
    const { connection } = this;
    try {
      this.#makingOffer = true;
      await connection.setLocalDescription();
      const description = connection.localDescription;
      if (connection === this.connection && description?.type === "offer") this.#send("offer", withListedFormats(description));
    } catch (error) {
      if (connection.signalingState !== "closed") console.warn(`offer to ${this.id} failed`, error);
    } finally {
      if (connection === this.connection) this.#makingOffer = false;
    }
  }

  /** @param {RTCSessionDescriptionInit} description */
  async #description(description) {
    if ([...this.#names(description.sdp)].some((one) => this.#former.has(one))) return; // said before it was let go
    const known = fingerprints(this.connection.remoteDescription?.sdp);
    if (description.type === "offer" && this.#renegotiates && isOtherConnection(known, description.sdp)) this.#renew(false);
    const { connection } = this;
    const ready =
      !this.#makingOffer && (connection.signalingState === "stable" || this.#settingAnswer);
    const collision = description.type === "offer" && !ready;
    this.#ignoreOffer = !this.#polite && collision;
    if (this.#ignoreOffer) return;

    this.#settingAnswer = description.type === "answer";
    try {
      const { currentLocalDescription, currentRemoteDescription } = connection;
      const isOffer = description.type === "offer";
      await connection.setRemoteDescription(isOffer ? withRoleKept(description, currentLocalDescription, currentRemoteDescription) : description);
      if (!isOffer) this.#refused = 0;
    } catch (error) {
      if (description.type === "answer" && connection.signalingState === "have-local-offer") await this.#takeBack();
      throw error;
    } finally {
      this.#settingAnswer = false;
    }
    for (const candidate of this.#early.splice(0)) {
      // One that belongs to a connection of before is none for this one.
      await this.#candidate(candidate).catch((error) => console.debug("early candidate", error));
    }
    if (description.type !== "offer" || connection !== this.connection) return;

    const first = !this.#negotiated;
    this.#negotiated = true;
    clearTimeout(this.#offerTimer);
    this.#state("connecting");
    if (first) await this.#answerOnItsLines();
    await connection.setLocalDescription();
    if (connection === this.connection && connection.localDescription) this.#send("answer", withListedFormats(connection.localDescription));
  }

  /**
   * Takes back an offer whose answer was refused: it would bar the way to any other. After a while, since the answer may
   * well be the same, it is made again. Before the connection was ever up, that is on a new one: the other side takes
   * the lines of the first for settled.
   */
  async #takeBack() {
    const wait = Math.min(REFUSED_WAIT_MS * 2 ** this.#refused, REFUSED_WAIT_MAX_MS);
    this.#refused += 1;
    clearTimeout(this.#againTimer);
    this.#againTimer = setTimeout(() => {
      this.#againTimer = undefined;
      if (!this.#wasUp) this.#renew(true);
      else if (this.connection.signalingState === "stable") this.#offer();
    }, wait);
    if (this.#wasUp) await this.connection.setLocalDescription({ type: "rollback" });
  }

  /** @param {RTCIceCandidateInit | null} candidate */
  async #candidate(candidate) {
    if (!candidate) return;
    if (!this.connection.remoteDescription) {
      if (this.#early.length < EARLY_CANDIDATES_MAX) this.#early.push(candidate);
      return;
    }
    try {
      await this.connection.addIceCandidate(candidate);
    } catch (error) {
      if (!this.#ignoreOffer) throw error;
    }
  }

  /** @param {RTCTrackEvent} event */
  #received({ track, receiver, transceiver, streams }) {
    this.#encryption?.limitCodecs(transceiver);
    this.#encryption?.decrypt(transceiver);
    // The sender as well, if the other side's offer made it: Chromium takes no transform later than now.
    this.#encryption?.encrypt(transceiver);
    const stream = bare(streams[0]?.id ?? "");
    this.#receiving = this.#receiving.filter((one) => one.track !== track);
    this.#receiving.push({ track, receiver, transceiver, stream });
    for (const name of ["mute", "unmute", "ended"]) track.addEventListener(name, () => this.emit("change", null));
    this.emit("change", null);
  }

  /** @param {RTCDataChannel} channel */
  #opened(channel) {
    if (channel.label === this.chat.label) this.chat.adopt(channel);
    else if (isDataChannel(channel)) this.data.adopt(channel);
    else {
      this.#channels.add(channel);
      this.emit(channel.label === FILE_LABEL ? "file" : "channel", channel);
    }
  }

  /** What this side sends as a source by this connection. @param {Source} source */
  #media(source) {
    return this.#carriesMedia ? this.#local.get(source) : undefined;
  }

  #sources() {
    return this.#carriesMedia ? this.#local.sources() : [];
  }

  /**
   * Looks how the connection does, restarts ICE when that is due, and comes back when there is something to look at.
   * Both sides do so; perfect negotiation sorts out restarts that cross.
   */
  #watch() {
    clearTimeout(this.#timer);
    const { connectionState, iceConnectionState } = this.connection;
    if (connectionState === "connected") {
      this.#downSince = null;
      this.#wasUp = true;
      this.#restarts = 0;
      this.#state("connected");
      this.#fit();
      if (this.#hasFailed && (this.chat.isLost || this.data.isLost) && this.#renegotiates) this.#renew(true);
      return;
    }
    if (this.#ownState === "closed" || connectionState === "closed") return;
    // Nobody waits for data that was lost with its channels.
    if (!this.#carriesMedia && this.#wasUp && connectionState === "failed") return this.close();
    const now = performance.now();
    this.#downSince ??= now;
    this.#hasFailed ||= connectionState === "failed" || iceConnectionState === "failed";
    if (this.#renegotiates && now >= this.#restartDue()) {
      if (this.#restarts >= RESTARTS_MAX) return this.#renew(true);
      this.#restarts += 1;
      this.#restartedAt = now;
      this.connection.restartIce();
    }
    const failsAt = this.#downSince + FAILED_AFTER_MS;
    const isBroken = connectionState === "failed" || ["failed", "disconnected"].includes(iceConnectionState);
    if (now >= failsAt) this.#state("failed");
    else if (isBroken || this.#ownState === "failed") this.#state("unstable");
    const next = now < failsAt ? Math.min(failsAt, this.#restartDue()) : this.#restartDue();
    this.#timer = setTimeout(() => this.#watch(), Math.max(WATCH_MS, next - now));
  }

  /** When ICE is to be restarted, as things are. */
  #restartDue() {
    const { connectionState, iceConnectionState } = this.connection;
    const isFailed = connectionState === "failed" || iceConnectionState === "failed";
    const patience = isFailed ? 0 : iceConnectionState === "disconnected" ? UNSTABLE_MS : this.#wasUp ? RESTART_EVERY_MS : CONNECT_WITHIN_MS;
    // As a rule one of both restarts: the polite side waits a little longer.
    const manners = this.#polite ? 1_000 : 0;
    if (this.#restarts === 0) return Math.max(this.#downSince ?? 0, this.#restartedAt) + patience + manners;
    return this.#restartedAt + Math.max(RESTART_EVERY_MS, patience) + manners;
  }

  /** @param {PeerState} state */
  #state(state) {
    if (state === "connecting" && this.#ownState !== "waiting") return; // renegotiation is no news
    if (this.#ownState === state) return;
    this.#ownState = state;
    if (state === "connecting") this.#watch();
    this.emit("change", null);
  }
}
