import { ChatChannel } from "./chat-channel.js";
import { withRoleKept } from "./dtls-role.js";
import { Emitter } from "./emitter.js";
import { FILE_LABEL } from "./file-messages.js";

/**
 * @typedef {import("./messages.js").PeerInfo} PeerInfo
 * @typedef {import("./messages.js").Publication} Publication
 * @typedef {import("./messages.js").Source} Source
 * @typedef {import("./local-media.js").LocalMedia} LocalMedia
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

/**
 * The connection with one other participant.
 *
 * - `change`: something that a tile shows (state, tracks, name);
 * - `message`: text from its chat channel;
 * - `file`: a channel on which it offers a file;
 * - `channel`: any other data channel that it opened.
 *
 * @extends {Emitter<{change: null, message: string, file: RTCDataChannel, channel: RTCDataChannel}>}
 */
export class Peer extends Emitter {
  /** @type {string} */ id;
  /** @type {string} */ name;
  /** @type {Record<string, unknown>} */ metadata;
  /** @type {Publication[]} */ publications;
  /** @type {PeerState} */ state = "waiting";
  /** The connection itself, for what this class does not offer. @type {RTCPeerConnection} */ connection;
  /** @type {ChatChannel} */ chat;

  #polite;
  #renegotiates;
  #send;
  #local;
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
  /** @type {Map<Source, RTCRtpTransceiver>} */
  #sending = new Map();
  /** @type {{track: MediaStreamTrack, stream: string, receiver: RTCRtpReceiver, transceiver: RTCRtpTransceiver}[]} */
  #receiving = [];
  #restarts = 0;
  #restartedAt = 0;
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
   * @param {(event: "offer" | "answer" | "candidate", data: any) => void} options.send
   */
  constructor({ info, polite, offers, iceServers, local, send }) {
    super();
    this.id = info.id;
    this.name = info.name ?? "";
    this.metadata = info.metadata ?? {};
    this.publications = info.tracks;
    this.#polite = polite;
    this.#renegotiates = info.protocol !== "base";
    this.#send = send;
    this.#local = local;

    const connection = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.connection = connection;
    this.chat = new ChatChannel(connection);
    this.chat.on("message", (text) => this.emit("message", text));
    this.chat.on("open", () => this.emit("change", null));
    connection.onicecandidate = ({ candidate }) => candidate && this.#send("candidate", candidate.toJSON());
    connection.onnegotiationneeded = () => this.#offer();
    connection.onconnectionstatechange = () => this.#watch();
    connection.oniceconnectionstatechange = () => this.#watch();
    connection.ontrack = (event) => this.#received(event);
    connection.ondatachannel = ({ channel }) => this.#opened(channel);

    if (offers) this.#begin();
    else this.#offerTimer = setTimeout(() => this.#begin(), OFFER_WITHIN_MS);
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
    const media = this.#local.get(source);
    const transceiver = this.#sending.get(source);
    if (transceiver) {
      if (transceiver.sender.track !== (media?.track ?? null)) await transceiver.sender.replaceTrack(media?.track ?? null);
      const direction = media ? (isBase(source) ? "sendrecv" : "sendonly") : "inactive";
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
    return this.connection.createDataChannel(label, init);
  }

  /**
   * What arrives from this peer as `source`, or `null`. A peer that does not say what it sends (the base protocol, a
   * bare native client) gets it from the order: first sound, first picture, and a second picture is a screen.
   *
   * @param {Source} source
   * @returns {{track: MediaStreamTrack, receiver: RTCRtpReceiver, mid: string | null, muted: boolean} | null}
   */
  media(source) {
    const live = this.#receiving.filter(({ track, transceiver }) => track.readyState === "live" && isReceiving(transceiver));
    const publication = this.publications.find((one) => one.source === source);
    if (publication) {
      const found = live.find(({ stream }) => stream === bare(publication.stream));
      return found ? received(found, publication.muted) : null;
    }
    if (this.publications.length > 0) return null;
    const kind = source === "microphone" ? "audio" : "video";
    const rank = { microphone: 0, camera: 0, screen: 1 }[/** @type {string} */ (source)];
    if (rank === undefined) return null;
    const found = live.filter(({ track }) => track.kind === kind)[rank];
    if (!found || (source === "screen" && found.track.muted)) return null;
    return received(found, false);
  }

  /** The sender of a source, for its statistics. @param {Source} source */
  sender(source) {
    return this.#sending.get(source)?.sender ?? null;
  }

  /** @param {import("./messages.js").MetadataChange} change */
  describe({ name, metadata }) {
    this.name = name ?? this.name;
    this.metadata = metadata ?? this.metadata;
    this.emit("change", null);
  }

  /** @param {import("./messages.js").TrackChange} change */
  publication({ action, track }) {
    const others = this.publications.filter((one) => one.id !== track.id);
    this.publications = action === "unpublish" ? others : [...others, track];
    this.emit("change", null);
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
    if (this.state === "closed") return;
    this.#downSince = this.#restartedAt = performance.now();
    this.#restarts = 1;
    this.connection.restartIce();
    this.#watch();
  }

  close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#offerTimer);
    clearTimeout(this.#againTimer);
    const { connection } = this;
    connection.onicecandidate = connection.onnegotiationneeded = connection.onconnectionstatechange = null;
    connection.oniceconnectionstatechange = connection.ontrack = connection.ondatachannel = null;
    connection.close();
    this.#state("closed");
  }

  /** Makes the first offer: a line for sound, one for the picture, and the chat channel. */
  #begin() {
    if (this.#negotiated) return;
    this.#negotiated = true;
    this.chat.create();
    for (const source of this.#local.sources()) this.#addLine(source);
  }

  /** Applies the limit; before the connection is up, some browsers have no parameters to change. */
  async #fit() {
    const sender = this.sender("camera");
    const budget = this.#budget;
    if (!sender || !budget || this.connection.connectionState !== "connected") return;
    const parameters = sender.getParameters();
    const height = sender.track?.getSettings().height ?? 0;
    const scale = Math.max(1, height / budget.maxHeight);
    const [encoding] = parameters.encodings ?? [];
    if (!encoding || (encoding.maxBitrate === budget.maxBitrate && encoding.scaleResolutionDownBy === scale)) return;
    encoding.maxBitrate = budget.maxBitrate;
    encoding.scaleResolutionDownBy = scale;
    // A limit that could not be set costs bandwidth, not the call.
    await sender.setParameters(parameters).catch((error) => console.warn("bitrate not limited", error));
  }

  /** @param {Source} source */
  #addLine(source) {
    const media = this.#local.get(source);
    const stream = this.#local.stream(source);
    const transceiver = this.connection.addTransceiver(media?.track ?? kindOf(source), {
      direction: isBase(source) ? "sendrecv" : "sendonly",
      streams: [stream],
    });
    this.#sending.set(source, transceiver);
  }

  /** Answers on the lines that the other side's first offer brought, instead of adding lines of its own. */
  async #answerOnItsLines() {
    for (const source of this.#local.sources()) {
      const free = this.connection
        .getTransceivers()
        .find((one) => one.receiver.track.kind === kindOf(source) && ![...this.#sending.values()].includes(one) && one.currentDirection !== "stopped");
      if (free && isBase(source)) {
        free.direction = "sendrecv";
        free.sender.setStreams(this.#local.stream(source));
        this.#sending.set(source, free);
        await free.sender.replaceTrack(this.#local.get(source)?.track ?? null);
      } else if (this.#local.get(source) && this.#renegotiates) {
        this.#addLine(source);
      }
    }
  }

  async #offer() {
    if (!this.#renegotiates && this.connection.remoteDescription) return;
    if (!this.#negotiated) return; // the other side offers first
    if (this.#againTimer !== undefined) return;
    this.#state("connecting");
    try {
      this.#makingOffer = true;
      await this.connection.setLocalDescription();
      const description = this.connection.localDescription;
      if (description?.type === "offer") this.#send("offer", description.toJSON());
    } catch (error) {
      if (this.connection.signalingState !== "closed") console.warn(`offer to ${this.id} failed`, error);
    } finally {
      this.#makingOffer = false;
    }
  }

  /** @param {RTCSessionDescriptionInit} description */
  async #description(description) {
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
    for (const candidate of this.#early.splice(0)) await this.#candidate(candidate);
    if (description.type !== "offer") return;

    const first = !this.#negotiated;
    this.#negotiated = true;
    clearTimeout(this.#offerTimer);
    this.#state("connecting");
    if (first) await this.#answerOnItsLines();
    await connection.setLocalDescription();
    if (connection.localDescription) this.#send("answer", connection.localDescription.toJSON());
  }

  /**
   * Takes back the offer whose answer was refused: it would bar the way to any other. What it was for is offered again
   * (the browser asks for it), after a while, since the answer may well be the same.
   */
  async #takeBack() {
    const wait = Math.min(REFUSED_WAIT_MS * 2 ** this.#refused, REFUSED_WAIT_MAX_MS);
    this.#refused += 1;
    clearTimeout(this.#againTimer);
    this.#againTimer = setTimeout(() => {
      this.#againTimer = undefined;
      if (this.connection.signalingState === "stable") this.#offer();
    }, wait);
    await this.connection.setLocalDescription({ type: "rollback" });
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
    const stream = bare(streams[0]?.id ?? "");
    this.#receiving = this.#receiving.filter((one) => one.track !== track);
    this.#receiving.push({ track, receiver, transceiver, stream });
    for (const name of ["mute", "unmute", "ended"]) track.addEventListener(name, () => this.emit("change", null));
    this.emit("change", null);
  }

  /** @param {RTCDataChannel} channel */
  #opened(channel) {
    if (channel.label === this.chat.label) this.chat.adopt(channel);
    else if (channel.label === FILE_LABEL) this.emit("file", channel);
    else this.emit("channel", channel);
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
      this.#restarts = 0;
      this.#state("connected");
      this.#fit();
      return;
    }
    if (this.state === "closed" || connectionState === "closed") return;
    const now = performance.now();
    this.#downSince ??= now;
    if (this.#renegotiates && now >= this.#restartDue()) {
      this.#restarts += 1;
      this.#restartedAt = now;
      this.connection.restartIce();
    }
    const failsAt = this.#downSince + FAILED_AFTER_MS;
    const isBroken = connectionState === "failed" || ["failed", "disconnected"].includes(iceConnectionState);
    if (now >= failsAt) this.#state("failed");
    else if (isBroken || this.state === "failed") this.#state("unstable");
    const next = now < failsAt ? Math.min(failsAt, this.#restartDue()) : this.#restartDue();
    this.#timer = setTimeout(() => this.#watch(), Math.max(WATCH_MS, next - now));
  }

  /** When ICE is to be restarted, as things are. */
  #restartDue() {
    const { connectionState, iceConnectionState } = this.connection;
    const isFailed = connectionState === "failed" || iceConnectionState === "failed";
    const patience = isFailed ? 0 : iceConnectionState === "disconnected" ? UNSTABLE_MS : CONNECT_WITHIN_MS;
    // As a rule one of both restarts: the polite side waits a little longer.
    const manners = this.#polite ? 1_000 : 0;
    if (this.#restarts === 0) return (this.#downSince ?? 0) + patience + manners;
    return this.#restartedAt + Math.max(RESTART_EVERY_MS, patience) + manners;
  }

  /** @param {PeerState} state */
  #state(state) {
    if (state === "connecting" && this.state !== "waiting") return; // renegotiation is no news
    if (this.state === state) return;
    this.state = state;
    if (state === "connecting") this.#watch();
    this.emit("change", null);
  }
}

/**
 * @param {{track: MediaStreamTrack, receiver: RTCRtpReceiver, transceiver: RTCRtpTransceiver}} line
 * @param {boolean} muted whether its sender says so
 */
function received({ track, receiver, transceiver }, muted) {
  return { track, receiver, mid: transceiver.mid, muted: muted || track.muted };
}

/** Lines that every connection has from the start, so that switching a camera on needs no negotiation. @param {Source} source */
function isBase(source) {
  return source === "microphone" || source === "camera";
}

/** @param {Source} source */
function kindOf(source) {
  return source === "microphone" || source === "screen-audio" ? "audio" : "video";
}

/** Firefox has written stream ids in braces. @param {string} stream */
function bare(stream) {
  return stream.replace(/[{}]/g, "");
}

/** @param {RTCRtpTransceiver} transceiver */
function isReceiving({ currentDirection }) {
  // `null` while the first answer is on its way: the track is there already.
  return currentDirection !== "inactive" && currentDirection !== "sendonly" && currentDirection !== "stopped";
}
