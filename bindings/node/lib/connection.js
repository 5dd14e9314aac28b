/** What stands behind an `RTCPeerConnection`: its slots, its operations chain, and what the stack reports. */

import { inside } from './webidl.js';
import { NativeCertificate, NativeConnection } from './native.js';
import { invalidState, native } from './errors.js';
import { RTCDataChannelEvent, RTCPeerConnectionIceErrorEvent, RTCPeerConnectionIceEvent, fire } from './events.js';
import { queueTask } from './tasks.js';
import { RTCCertificate, nativeCertificate } from './certificate.js';
import { plainServers } from './configuration.js';
import { Identities, withIdentity } from './identity.js';
import { RTCIceCandidate } from './ice-candidate.js';
import { RTCSessionDescription } from './session-description.js';
import { RTCIceTransport, setGatheringState, setIceState, setPair, iceTransports } from './ice-transport.js';
import { RTCDtlsTransport, setDtlsState } from './dtls-transport.js';
import { Announced, toDescriptionCandidates } from './sdp-candidates.js';
import { setSctpState } from './sctp-transport.js';
import { announceOpen, newChannel, onChannelEvent, shutChannel } from './data-channel.js';
import { endTrack } from './media-stream-track.js';
import { onFrame } from './rtp-receiver.js';
import { onKeyFrameWanted, senders } from './rtp-sender.js';
import { stopped } from './rtp-transceiver.js';
import { feed, stopFeeding } from './synthetic-media.js';
import { report } from './stats-report.js';

/** Connections that are under way: they are kept, and keep the process, until they are closed. */
const active = new Set();
let keeper = null;

function hold(connection) {
  active.add(connection);
  keeper ??= setInterval(() => {}, 2 ** 30);
}

function release(connection) {
  active.delete(connection);
  if (active.size === 0 && keeper !== null) {
    clearInterval(keeper);
    keeper = null;
  }
}

export class Connection {
  constructor(configuration, settings) {
    this.object = null;
    this.configuration = configuration;
    this.isClosed = false;
    this.operations = [];
    this.updateOnEmptyChain = false;
    this.isNegotiationNeeded = false;
    this.signalingState = 'stable';
    this.iceConnectionState = 'new';
    this.iceGatheringState = 'new';
    this.connectionState = 'new';
    this.canTrickle = null;
    this.descriptions = { currentLocal: null, pendingLocal: null, currentRemote: null, pendingRemote: null };
    this.lastOffer = '';
    this.lastAnswer = '';
    this.transceivers = [];
    this.channels = new Map();
    /**
     * What channels told before the connection did that it is connected: the stack tells the two on
     * different ways. `null` from then on.
     */
    this.early = [];
    this.madeChannels = [];
    this.opened = 0;
    this.closed = 0;
    this.streams = new Map();
    this.frameSinks = new Map();
    /** What the stack says of gathering; hidden while no description has a transport. */
    this.gathering = { reported: 'new', isHidden: false };
    /** The timer of what is sent by itself. */
    this.feeder = null;
    this.connectedAt = NaN;
    this.certificate = configuration.certificates[0] ?? new RTCCertificate(inside, { native: NativeCertificate.generate() });
    this.identities = new Identities(this.certificate.getFingerprints(), configuration.peerIdentity);
    // The callback must not keep what it wakes: a connection that nobody knows any more goes.
    const weak = new WeakRef(this);
    const init = {
      iceServers: plainServers(configuration.iceServers),
      relayOnly: configuration.iceTransportPolicy === 'relay',
      iceCandidatePoolSize: configuration.iceCandidatePoolSize,
      alwaysNegotiateDataChannels: configuration.alwaysNegotiateDataChannels,
      ...settings,
    };
    const wake = () => weak.deref()?.take();
    this.native = native(() => new NativeConnection(init, nativeCertificate(this.certificate), wake));
    this.announced = new Announced();
    this.ice = new RTCIceTransport(inside, { native: this.native, announced: this.announced });
    this.dtlsTransport = new RTCDtlsTransport(inside, { ice: this.ice, native: this.native });
    /** The transport, once a description has a section for it. */
    this.dtls = null;
    this.sctp = null;
  }

  /** From here on it lives until it is closed. */
  begin() {
    if (!this.isClosed) hold(this);
  }

  /** A task for this connection; nothing happens any more once it is closed. */
  later(steps) {
    queueTask(() => {
      if (!this.isClosed) steps();
    });
  }

  /** §4.4.1.2, "chain an operation". */
  chain(operation) {
    if (this.isClosed) return Promise.reject(invalidState('the connection is closed'));
    return new Promise((resolve, reject) => {
      const run = () => {
        const settle = (how) => (value) => {
          if (this.isClosed) return;
          how(value);
          this.operations.shift();
          if (this.operations.length > 0) this.operations[0]();
          else if (this.updateOnEmptyChain) {
            this.updateOnEmptyChain = false;
            this.updateNegotiationNeeded();
          }
        };
        let promise;
        try {
          promise = Promise.resolve(operation());
        } catch (error) {
          promise = Promise.reject(error);
        }
        promise.then(settle(resolve), settle(reject));
      };
      this.operations.push(run);
      if (this.operations.length === 1) run();
    });
  }

  /** §4.7.3, "update the negotiation-needed flag". */
  updateNegotiationNeeded() {
    if (this.isClosed) return;
    if (this.operations.length > 0) {
      this.updateOnEmptyChain = true;
      return;
    }
    this.later(() => {
      if (this.operations.length > 0) {
        this.updateOnEmptyChain = true;
        return;
      }
      if (this.signalingState !== 'stable') return;
      if (!this.native.isNegotiationNeeded()) {
        this.isNegotiationNeeded = false;
        return;
      }
      if (this.isNegotiationNeeded) return;
      this.isNegotiationNeeded = true;
      fire(this.object, 'negotiationneeded');
    });
  }

  /** A description as an object, the same one for as long as it says the same. */
  description(slot, stated) {
    const known = this.descriptions[slot];
    if (stated === null || stated === undefined) {
      this.descriptions[slot] = null;
    } else {
      const isLocal = slot.endsWith('Local');
      const sdp = isLocal ? withIdentity(this.announced.filter(stated.sdp), this.identities.sent[slot]) : stated.sdp;
      const isKnown = known !== null && known.sdp === sdp && known.type === stated.kind;
      if (!isKnown) this.descriptions[slot] = new RTCSessionDescription({ type: stated.kind, sdp });
    }
    return this.descriptions[slot];
  }

  refreshLocalDescriptions() {
    if (this.isClosed) return;
    const [current, pending] = this.native.localDescriptions();
    if (this.descriptions.currentLocal !== null) this.description('currentLocal', current);
    if (this.descriptions.pendingLocal !== null) this.description('pendingLocal', pending);
  }

  /** No channel is open before the association is; the two are told on different ways. */
  refreshSctp() {
    const state = this.native.sctp()?.state;
    if (this.sctp !== null && state === 'connected') setSctpState(this.sctp, state);
  }

  /** A channel is closed: what is counted of it stays. */
  forget(channel, wasOpen) {
    if (wasOpen) this.closed += 1;
    this.madeChannels.splice(this.madeChannels.indexOf(channel), 1);
  }

  hideGathering() {
    hideGathering(this);
  }

  unhideGathering() {
    unhideGathering(this);
  }

  statsOf(selector) {
    return new Promise((resolve, reject) => {
      queueTask(() => {
        try {
          resolve(report(this, selector));
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  setServers(configuration) {
    const servers = plainServers(configuration.iceServers);
    native(() => this.native.setServers(servers, configuration.iceTransportPolicy === 'relay'));
  }

  /** Takes what the stack reported: each event is a task. */
  take() {
    const events = this.native.takeEvents();
    for (const event of events) this.later(() => this.onEvent(event));
    // The rest of a full queue is taken when these are done: a slow reader slows the other side.
    if (events.length > 0) queueTask(() => this.take());
  }

  onEvent(event) {
    if (event.kind === 'frame' || event.kind === 'frames-end') {
      const own = this.transceivers.find((each) => each.id === event.handle);
      if (own !== undefined) onFrame(own, event);
      return;
    }
    if (event.kind === 'key-frame-wanted') {
      const own = this.transceivers.find((each) => each.id === event.handle);
      if (own !== undefined) onKeyFrameWanted(senders.of(own.sender), event.text ?? undefined);
      return;
    }
    if (event.handle !== undefined && event.handle !== null) {
      if (this.early === null) this.#channelEvent(event);
      else this.early.push(event);
      return;
    }
    const handler = reactions[event.kind];
    if (handler !== undefined) handler(this, event);
  }

  #channelEvent(event) {
    const channel = this.channels.get(event.handle);
    if (channel !== undefined) onChannelEvent(channel, event);
  }

  /** The states that come before a channel opens have been told. */
  letChannelsSpeak() {
    const early = this.early ?? [];
    this.early = null;
    for (const event of early) this.#channelEvent(event);
  }

  /** §4.4.1.8, "close the connection". */
  close() {
    if (this.isClosed) return;
    this.refreshLocalDescriptions();
    this.isClosed = true;
    this.signalingState = 'closed';
    for (const transceiver of this.transceivers) {
      const { track } = transceiver.object.receiver;
      if (!transceiver.isStopping) queueTask(() => endTrack(track));
      stopped(transceiver);
    }
    for (const channel of this.channels.values()) shutChannel(channel);
    this.channels.clear();
    stopFeeding(this);
    this.native.close();
    if (this.sctp !== null) setSctpState(this.sctp, 'closed', true);
    setDtlsState(this.dtlsTransport, 'closed', true);
    iceTransports.of(this.ice).state = 'closed';
    this.iceConnectionState = 'closed';
    this.connectionState = 'closed';
    this.transceivers = [];
    release(this);
  }
}

function showGathering(connection, state) {
  setGatheringState(connection.ice, state);
  if (connection.iceGatheringState !== state) {
    connection.iceGatheringState = state;
    fire(connection.object, 'icegatheringstatechange');
  }
  if (state === 'complete' && !connection.isClosed) {
    connection.object.dispatchEvent(new RTCPeerConnectionIceEvent('icecandidate', { candidate: null }));
  }
}

/** A rollback took the only local description away: without a transport nothing is gathered (§4.4.1.5). */
function hideGathering(connection) {
  connection.gathering.isHidden = true;
  connection.later(() => {
    if (connection.gathering.isHidden) showGathering(connection, 'new');
  });
}

/** There is a local description again: what was gathered for it is told again. */
function unhideGathering(connection) {
  const { gathering } = connection;
  if (!gathering.isHidden) return;
  gathering.isHidden = false;
  connection.later(() => {
    if (gathering.reported === 'new') return;
    showGathering(connection, 'gathering');
    const [current, pending] = connection.native.localDescriptions();
    for (const candidate of toDescriptionCandidates((pending ?? current)?.sdp ?? '')) {
      if (connection.isClosed) return;
      connection.announced.add(candidate.candidate, candidate.usernameFragment);
      if (gathering.reported === 'complete') connection.announced.add('', candidate.usernameFragment);
      connection.object.dispatchEvent(new RTCPeerConnectionIceEvent('icecandidate', { candidate }));
    }
    if (gathering.reported === 'complete' && !connection.isClosed) showGathering(connection, 'complete');
  });
}

/** What the stack reports of a connection. */
const reactions = {
  icecandidate(connection, event) {
    if (connection.gathering.isHidden) return;
    connection.announced.add(event.text, event.usernameFragment);
    const { sdpMid = null, sdpMLineIndex = null, usernameFragment = null, url = null, relayProtocol = null } = event;
    const init = { candidate: event.text, sdpMid, sdpMLineIndex, usernameFragment, url, relayProtocol };
    // The end of the candidates of a generation names no section where there is none.
    const candidate = new RTCIceCandidate(sdpMid === null && sdpMLineIndex === null ? { ...init, sdpMLineIndex: 0 } : init);
    connection.object.dispatchEvent(new RTCPeerConnectionIceEvent('icecandidate', { candidate, url }));
  },
  icegatheringstate(connection, event) {
    connection.gathering.reported = event.text;
    if (!connection.gathering.isHidden) showGathering(connection, event.text);
  },
  icecandidateerror(connection, event) {
    const { address = null, port = null, url = '', code, text } = event;
    const init = { address, port, url: url ?? '', errorCode: code, errorText: text };
    connection.object.dispatchEvent(new RTCPeerConnectionIceErrorEvent('icecandidateerror', init));
  },
  iceconnectionstate(connection, event) {
    const changed = setIceState(connection.ice, event.text);
    connection.iceConnectionState = event.text;
    if (!changed) return;
    fire(connection.ice, 'statechange');
    if (!connection.isClosed) fire(connection.object, 'iceconnectionstatechange');
  },
  selectedcandidatepair(connection, event) {
    if (!connection.isClosed) setPair(connection.ice, event.pair ?? null);
  },
  connectionstate(connection, event) {
    // A goodbye of the other side ends the transport, not this connection.
    const state = event.text === 'closed' ? 'disconnected' : event.text;
    setDtlsState(connection.dtlsTransport, connection.native.dtlsState());
    if (connection.isClosed || connection.connectionState === state) return;
    connection.connectionState = state;
    if (state === 'connected' && Number.isNaN(connection.connectedAt)) connection.connectedAt = performance.now();
    feed(connection);
    fire(connection.object, 'connectionstatechange');
    if (state !== 'new' && state !== 'connecting') connection.letChannelsSpeak();
  },
  sctpstate(connection, event) {
    setDtlsState(connection.dtlsTransport, connection.native.dtlsState());
    if (connection.sctp !== null) setSctpState(connection.sctp, event.text);
  },
  datachannel(connection, event) {
    const { handle, ...info } = event.channel;
    const channel = newChannel(connection, handle, info, 'open');
    connection.object.dispatchEvent(new RTCDataChannelEvent('datachannel', { channel }));
    // A browser lets promises go on between two events of one task; here that takes a task of its own.
    connection.later(() => {
      announceOpen(channel);
      connection.native.readChannel(handle);
    });
  },
};
