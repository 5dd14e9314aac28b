import { ForwardedPeer } from "./forwarded-peer.js";
import { Peer } from "./peer.js";

/**
 * @typedef {import("./messages.js").PeerInfo} PeerInfo
 * @typedef {import("./messages.js").Topology} Topology
 * @typedef {Peer | ForwardedPeer} Participant
 */

/** Id of the server where it takes part in the call itself; towards it the client is the polite side. */
export const SERVER_ID = "server";

/**
 * The connections of a room: one with each participant, or one with a server that forwards media and, where data goes
 * directly, further ones for that. While the room moves from one to the other there are both.
 */
export class Links {
  /** The connection with a server that forwards media. @type {Peer | null} */ server = null;
  /** Connections that carry data alone. @type {Map<string, Peer>} */
  #directs = new Map();
  #peers;
  #connect;
  #tend;

  /**
   * @param {object} options
   * @param {Map<string, Participant>} options.peers everyone else, kept as the room has them
   * @param {(info: PeerInfo, options: {offers?: boolean, carriesMedia?: boolean}) => Peer} options.connect where nothing
   *   else is said, the higher id of both makes the first offer
   * @param {(peer: Participant) => void} options.tend listens to one that is new
   */
  constructor({ peers, connect, tend }) {
    this.#peers = peers;
    this.#connect = connect;
    this.#tend = tend;
  }

  /** All connections. @returns {Peer[]} */
  all() {
    const own = [...this.#peers.values()].map((peer) => (peer instanceof Peer ? peer : peer.former));
    return [this.server, ...own, ...this.#directs.values()].filter((link) => link !== null);
  }

  connectToServer() {
    this.server ??= this.#connect({ id: SERVER_ID, tracks: [], protocol: "twocan.v1" }, { offers: true });
    return this.server;
  }

  /**
   * The connection over which somebody signals.
   *
   * @param {Participant} peer
   * @param {boolean} begins whether what it says begins one
   */
  of(peer, begins) {
    if (peer instanceof Peer) return peer;
    return peer.former ?? this.#directs.get(peer.id) ?? (begins ? this.#direct(peer.info, false) : null);
  }

  /** The connection on which a data channel to somebody can be opened. @param {Participant} peer */
  forData(peer) {
    if (peer instanceof Peer) return peer;
    return peer.former ?? this.#directs.get(peer.id) ?? this.#direct(peer.info, true);
  }

  /** The same for an id; `null` for who is not there. @param {string} id */
  forDataOf(id) {
    const peer = this.#peers.get(id);
    return peer ? this.forData(peer) : null;
  }

  /** Makes the connections of a shape, beside those that there are. @param {Topology} topology */
  move(topology) {
    for (const [id, peer] of this.#peers) {
      if (topology === "mesh" && peer instanceof ForwardedPeer) this.#peers.set(id, this.#unforwarded(peer));
      if (topology === "sfu" && peer instanceof Peer) {
        const moved = new ForwardedPeer(peer.info, this.connectToServer(), peer);
        // The room may have turned round on its way.
        peer.former?.close();
        peer.former = null;
        this.#tend(moved);
        this.#peers.set(id, moved);
      }
    }
    if (topology === "sfu") this.connectToServer();
  }

  /** Whether the connections of a shape are up, and bring everything. @param {Topology} topology */
  look(topology) {
    const peers = [...this.#peers.values()];
    const isUp = topology === "sfu" ? this.server?.isUp === true : peers.every((peer) => peer instanceof Peer && peer.isUp);
    const flows = (/** @type {Participant} */ peer) => peer.publications.every((own) => own.muted || peer.incoming(own)?.track.muted === false);
    return { isUp, isWhole: peers.every(flows) };
  }

  /** Lets go of those that are not of a shape, but for data on its way. @param {Topology} topology */
  letGo(topology) {
    for (const [id, peer] of this.#peers) {
      const { former } = peer;
      peer.former = null;
      if (former instanceof Peer) {
        former.carryMedia(false);
        if (former.state !== "closed") this.#keep(id, former);
      } else {
        former?.close();
      }
    }
    if (topology === "mesh") this.forgetServer();
  }

  forgetServer() {
    this.server?.close();
    this.server = null;
  }

  /** Somebody is gone. @param {Participant} peer */
  forget(peer) {
    peer.former?.close();
    peer.close();
    this.#directs.get(peer.id)?.close();
    this.#directs.delete(peer.id);
  }

  /** The connection by which the media of somebody goes directly from here on. @param {ForwardedPeer} peer */
  #unforwarded(peer) {
    const known = peer.former ?? this.#directs.get(peer.id);
    this.#directs.delete(peer.id);
    peer.former = null;
    const direct = known ?? this.#connect(peer.info, {});
    if (known) {
      known.describe(peer);
      known.publications = peer.publications;
      known.carryMedia(true);
    } else {
      this.#tend(direct);
    }
    direct.former = peer;
    return direct;
  }

  /** @param {PeerInfo} info @param {boolean} offers */
  #direct(info, offers) {
    const peer = this.#connect(info, { offers, carriesMedia: false });
    this.#tend(peer);
    this.#keep(info.id, peer);
    return peer;
  }

  /** @param {string} id @param {Peer} peer */
  #keep(id, peer) {
    this.#directs.set(id, peer);
    peer.on("change", () => {
      if (peer.state === "closed" && this.#directs.get(id) === peer) this.#directs.delete(id);
    });
  }
}
