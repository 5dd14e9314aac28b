/** `RTCPeerConnection` (W3C webrtc-pc §4.4). */

import {
  Slots, boolean, dictionary, enumeration, handlerAttributes, interfaceOf, nullable, required, shape, string,
  unsignedShort, unsignedShortEnforced, usvString,
} from './webidl.js';
import { exception, invalidState, native } from './errors.js';
import { queueTask } from './tasks.js';
import { generateCertificate } from './certificate.js';
import { checkConfiguration, copyConfiguration } from './configuration.js';
import { Connection } from './connection.js';
import { newChannel } from './data-channel.js';
import { setDescription } from './descriptions.js';
import { toCandidateInit } from './ice-candidate.js';
import { assertIdentity, checkPeer, getIdentityAssertion, setIdentityProvider, splitIdentity } from './identity.js';
import { MediaStream } from './media-stream.js';
import { MediaStreamTrack } from './media-stream-track.js';
import { checkEncodings, keptOf, present, toTransceiverInit } from './rtp-parameters.js';
import { RTCRtpSender, initialCodecs, senders } from './rtp-sender.js';
import { newTransceiver } from './rtp-transceiver.js';
import { toDescription, toLocalDescription } from './session-description.js';

export const connections = new Slots('RTCPeerConnection');
const isTrack = interfaceOf(MediaStreamTrack, 'MediaStreamTrack');
const isStream = interfaceOf(MediaStream, 'MediaStream');
const isSender = interfaceOf(RTCRtpSender, 'RTCRtpSender');
const toInit = toTransceiverInit(isStream);
const toOfferOptions = dictionary('RTCOfferOptions', {
  iceRestart: { as: boolean, or: false },
  offerToReceiveAudio: { as: boolean },
  offerToReceiveVideo: { as: boolean },
});
const toAnswerOptions = dictionary('RTCAnswerOptions', {});
const toChannelInit = dictionary('RTCDataChannelInit', {
  id: { as: unsignedShortEnforced },
  maxPacketLifeTime: { as: unsignedShortEnforced },
  maxRetransmits: { as: unsignedShortEnforced },
  negotiated: { as: boolean, or: false },
  ordered: { as: boolean, or: true },
  priority: { as: enumeration('RTCPriorityType', ['very-low', 'low', 'medium', 'high']), or: 'low' },
  protocol: { as: usvString, or: '' },
});

let settings = {};

/** Settings of the stack that the standard has no word for; see `nonstandard`. */
export function setDefaults(given) {
  settings = { ...given };
}

export class RTCPeerConnection extends EventTarget {
  constructor(configuration = {}) {
    super();
    const own = new Connection(checkConfiguration(configuration), settings);
    own.object = this;
    connections.set(this, own);
  }
  static async generateCertificate(keygenAlgorithm) {
    required(1, arguments.length, 'generateCertificate');
    return generateCertificate(keygenAlgorithm);
  }
  async createOffer() {
    const own = connections.of(this);
    const [first, second] = arguments;
    if (typeof first === 'function') return legacy(createOffer(own, arguments[2]), first, second);
    return createOffer(own, first);
  }
  async createAnswer() {
    const own = connections.of(this);
    const [first, second] = arguments;
    if (typeof first === 'function') return legacy(createAnswer(own), first, second);
    toAnswerOptions(first);
    return createAnswer(own);
  }
  async setLocalDescription() {
    const own = connections.of(this);
    const given = toLocalDescription(arguments[0]);
    const done = own.chain(() => setLocalDescription(own, given));
    return typeof arguments[1] === 'function' ? legacy(done, arguments[1], arguments[2]) : done;
  }
  get localDescription() {
    const own = connections.of(this);
    own.refreshLocalDescriptions();
    return own.descriptions.pendingLocal ?? own.descriptions.currentLocal;
  }
  get currentLocalDescription() {
    const own = connections.of(this);
    own.refreshLocalDescriptions();
    return own.descriptions.currentLocal;
  }
  get pendingLocalDescription() {
    const own = connections.of(this);
    own.refreshLocalDescriptions();
    return own.descriptions.pendingLocal;
  }
  async setRemoteDescription(description) {
    const own = connections.of(this);
    required(1, arguments.length, 'setRemoteDescription');
    const given = toDescription(description);
    const done = own.chain(() => setRemoteDescription(own, given));
    done.catch(() => {
      // Whoever is there, it is not who has to be.
      if (own.identities.isWrongPeer) own.close();
    });
    return typeof arguments[1] === 'function' ? legacy(done, arguments[1], arguments[2]) : done;
  }
  get remoteDescription() {
    const { descriptions } = connections.of(this);
    return descriptions.pendingRemote ?? descriptions.currentRemote;
  }
  get currentRemoteDescription() {
    return connections.of(this).descriptions.currentRemote;
  }
  get pendingRemoteDescription() {
    return connections.of(this).descriptions.pendingRemote;
  }
  async addIceCandidate() {
    const own = connections.of(this);
    const init = toCandidateInit(arguments[0]);
    const done = addIceCandidate(own, init);
    return typeof arguments[1] === 'function' ? legacy(done, arguments[1], arguments[2]) : done;
  }
  get signalingState() {
    return connections.of(this).signalingState;
  }
  get iceGatheringState() {
    return connections.of(this).iceGatheringState;
  }
  get iceConnectionState() {
    return connections.of(this).iceConnectionState;
  }
  get connectionState() {
    return connections.of(this).connectionState;
  }
  get canTrickleIceCandidates() {
    return connections.of(this).canTrickle;
  }
  restartIce() {
    const own = connections.of(this);
    if (own.isClosed) return;
    own.native.restartIce();
    own.updateNegotiationNeeded();
  }
  getConfiguration() {
    return copyConfiguration(connections.of(this).configuration);
  }
  setConfiguration(configuration = {}) {
    const own = connections.of(this);
    if (own.isClosed) throw invalidState('the connection is closed');
    const { pendingLocal, currentLocal } = own.descriptions;
    const hasLocal = pendingLocal !== null || currentLocal !== null;
    const checked = checkConfiguration(configuration, { ...own.configuration, hasLocal });
    own.setServers(checked);
    own.configuration = checked;
  }
  close() {
    connections.of(this).close();
  }
  getSenders() {
    return connections.of(this).transceivers.filter((own) => !own.isStopped).map((own) => own.sender);
  }
  getReceivers() {
    return connections.of(this).transceivers.filter((own) => !own.isStopped).map((own) => own.receiver);
  }
  getTransceivers() {
    return connections.of(this).transceivers.map((own) => own.object);
  }
  addTrack(track, ...streams) {
    const own = connections.of(this);
    required(1, arguments.length, 'addTrack');
    isTrack(track);
    return addTrack(own, track, streams.map(isStream));
  }
  removeTrack(sender) {
    const own = connections.of(this);
    required(1, arguments.length, 'removeTrack');
    isSender(sender);
    if (own.isClosed) throw invalidState('the connection is closed');
    const slots = senders.of(sender);
    if (slots.connection !== own) {
      throw new DOMException('the sender is another connection\'s', 'InvalidAccessError');
    }
    removeTrack(own, slots);
  }
  addTransceiver(trackOrKind, init = {}) {
    const own = connections.of(this);
    required(1, arguments.length, 'addTransceiver');
    return addTransceiver(own, trackOrKind, toInit(init));
  }
  get sctp() {
    return connections.of(this).sctp;
  }
  createDataChannel(label, dataChannelDict = {}) {
    const own = connections.of(this);
    required(1, arguments.length, 'createDataChannel');
    return createDataChannel(own, usvString(label), toChannelInit(dataChannelDict));
  }
  setIdentityProvider(provider, options = {}) {
    const own = connections.of(this);
    required(1, arguments.length, 'setIdentityProvider');
    setIdentityProvider(own, provider, options);
  }
  async getIdentityAssertion() {
    return getIdentityAssertion(connections.of(this));
  }
  get peerIdentity() {
    try {
      return connections.of(this).identities.peer.promise;
    } catch (error) {
      return Promise.reject(error);
    }
  }
  get idpLoginUrl() {
    return connections.of(this).identities.loginUrl;
  }
  get idpErrorInfo() {
    return connections.of(this).identities.errorInfo;
  }
  async getStats(selector = null) {
    const own = connections.of(this);
    const track = nullable(isTrack)(selector);
    if (track === null) return own.statsOf({});
    return getTrackStats(own, track);
  }
}
shape(RTCPeerConnection, 'RTCPeerConnection');
handlerAttributes(RTCPeerConnection, connections, [
  'negotiationneeded', 'icecandidate', 'icecandidateerror', 'signalingstatechange', 'iceconnectionstatechange',
  'icegatheringstatechange', 'connectionstatechange', 'track', 'datachannel',
]);
Object.defineProperty(RTCPeerConnection.prototype.addTransceiver, 'length', { value: 1, configurable: true });

/** The callbacks of §4.4.3; the promise then says nothing. */
function legacy(promise, success, failure) {
  promise.then((value) => success(value), (error) => {
    if (typeof failure === 'function') failure(error);
  });
  return undefined;
}

/** Settles in a task; never, once the connection is closed. */
function inTask(own, steps) {
  return new Promise((resolve, reject) => {
    queueTask(() => {
      if (own.isClosed) return;
      try {
        resolve(steps());
      } catch (error) {
        reject(error);
      }
    });
  });
}

function offerToReceive(own, kind, wanted) {
  const live = own.transceivers.filter((each) => each.kind === kind && !each.isStopping);
  if (wanted === false) {
    for (const each of live) {
      const less = { sendrecv: 'sendonly', recvonly: 'inactive' }[each.direction];
      if (less !== undefined) each.object.direction = less;
    }
  } else if (wanted === true && !live.some((each) => ['sendrecv', 'recvonly'].includes(each.direction))) {
    const idle = live.find((each) => each.direction === 'sendonly' || each.direction === 'inactive');
    if (idle === undefined) addTransceiver(own, kind, toInit({ direction: 'recvonly' }));
    else idle.object.direction = idle.direction === 'sendonly' ? 'sendrecv' : 'recvonly';
  }
}

async function createOffer(own, options) {
  const { iceRestart, offerToReceiveAudio, offerToReceiveVideo } = toOfferOptions(options);
  if (own.isClosed) throw invalidState('the connection is closed');
  offerToReceive(own, 'audio', offerToReceiveAudio);
  offerToReceive(own, 'video', offerToReceiveVideo);
  return own.chain(() => {
    if (!['stable', 'have-local-offer'].includes(own.signalingState)) {
      throw invalidState(`no offer can be made in ${own.signalingState}`);
    }
    return inTask(own, () => {
      const restarts = iceRestart && own.descriptions.currentLocal !== null;
      const made = assertIdentity(own, native(() => own.native.createOffer(restarts)));
      return whenMade(made, (sdp) => ({ type: 'offer', sdp: (own.lastOffer = sdp) }));
    });
  });
}

async function createAnswer(own) {
  if (own.isClosed) throw invalidState('the connection is closed');
  return own.chain(() => {
    if (!['have-remote-offer', 'have-local-pranswer'].includes(own.signalingState)) {
      throw invalidState(`no answer can be made in ${own.signalingState}`);
    }
    return inTask(own, () => {
      const made = assertIdentity(own, native(() => own.native.createAnswer()));
      return whenMade(made, (sdp) => ({ type: 'answer', sdp: (own.lastAnswer = sdp) }));
    });
  });
}

/** What is made at once is there at once; a provider of identities takes its time. */
const whenMade = (made, then) => (typeof made === 'string' ? then(made) : made.then(then));

async function setLocalDescription(own, given) {
  const isOffering = ['stable', 'have-local-offer', 'have-remote-pranswer'].includes(own.signalingState);
  const type = given.type ?? (isOffering ? 'offer' : 'answer');
  let { sdp } = given;
  const isAnswer = type === 'answer' || type === 'pranswer';
  const fits = isAnswer
    ? ['have-remote-offer', 'have-local-pranswer']
    : ['stable', 'have-local-offer'];
  if (type !== 'rollback' && !fits.includes(own.signalingState)) {
    throw invalidState(`no ${type} fits ${own.signalingState}`);
  }
  if (type === 'offer' && sdp !== '' && sdp !== own.lastOffer) throw modified();
  if (isAnswer && sdp !== '' && sdp !== own.lastAnswer) throw modified();
  if (type === 'rollback') {
    checkRollback(own);
    sdp = '';
  }
  if (sdp === '' && type === 'offer') {
    const made = assertIdentity(own, native(() => own.native.createOffer()));
    sdp = own.lastOffer = typeof made === 'string' ? made : await made;
  } else if (sdp === '' && isAnswer) {
    const made = assertIdentity(own, native(() => own.native.createAnswer()));
    sdp = own.lastAnswer = typeof made === 'string' ? made : await made;
  }
  return setDescription(own, true, { type, sdp });
}

const modified = () => new DOMException(
  'the description is not the one that was created last',
  'InvalidModificationError',
);

/** Only an offer that is pending can be rolled back (§4.4.1.5). */
function checkRollback(own) {
  if (!['have-local-offer', 'have-remote-offer'].includes(own.signalingState)) {
    throw invalidState(`nothing can be rolled back in ${own.signalingState}`);
  }
}

async function setRemoteDescription(own, { type, sdp }) {
  if (type === 'rollback') checkRollback(own);
  // An offer that meets ours takes ours back first, whatever comes of it (§4.4.1.5).
  if (type === 'offer' && own.signalingState === 'have-local-offer') {
    await setDescription(own, true, { type: 'rollback', sdp: '' });
  }
  const isChecked = type !== 'rollback' && (own.identities.target !== undefined || splitIdentity(sdp).assertion !== null);
  if (isChecked) await checkPeer(own, sdp);
  return setDescription(own, false, { type, sdp: type === 'rollback' ? '' : sdp });
}

async function addIceCandidate(own, init) {
  if (init.candidate !== '' && init.sdpMid === null && init.sdpMLineIndex === null) {
    throw new TypeError('the candidate has neither sdpMid nor sdpMLineIndex');
  }
  return own.chain(() => {
    const { pendingRemote, currentRemote } = own.descriptions;
    if (pendingRemote === null && currentRemote === null) throw invalidState('no remote description yet');
    try {
      own.native.addIceCandidate(present(init));
    } catch (error) {
      return inTask(own, () => {
        throw exception(error);
      });
    }
    return inTask(own, () => {
      const state = own.native.state();
      own.description('currentRemote', state.currentRemote);
      own.description('pendingRemote', state.pendingRemote);
    });
  });
}

function addTrack(own, track, streams) {
  if (own.isClosed) throw invalidState('the connection is closed');
  const live = own.transceivers.filter((each) => !each.isStopped);
  if (live.some((each) => senders.of(each.sender).track === track)) {
    throw new DOMException('the track is sent already', 'InvalidAccessError');
  }
  const ids = [...new Set(streams.map((stream) => stream.id))];
  const free = live.find((each) => {
    const sender = senders.of(each.sender);
    return sender.track === null && each.kind === track.kind && !each.isStopping && !each.hasSent;
  });
  const id = native(() => own.native.addTrack(track.kind, free?.id, ids));
  let transceiver = free;
  if (free !== undefined) {
    Object.assign(senders.of(free.sender), { track, streams: ids });
    free.direction = { recvonly: 'sendrecv', inactive: 'sendonly' }[free.direction] ?? free.direction;
  } else {
    transceiver = newTransceiver(own, { id, kind: track.kind, direction: 'sendrecv', track, streams: ids });
    own.transceivers.push(transceiver);
  }
  own.updateNegotiationNeeded();
  return transceiver.sender;
}

function removeTrack(own, sender) {
  const { transceiver } = sender;
  if (!own.transceivers.includes(transceiver) || transceiver.isStopping || sender.track === null) return;
  sender.track = null;
  native(() => own.native.removeTrack(transceiver.id));
  transceiver.direction = { sendrecv: 'recvonly', sendonly: 'inactive' }[transceiver.direction] ?? transceiver.direction;
  own.updateNegotiationNeeded();
}

function addTransceiver(own, trackOrKind, init) {
  const isKind = !(trackOrKind instanceof MediaStreamTrack);
  const kind = isKind ? string(trackOrKind) : trackOrKind.kind;
  if (kind !== 'audio' && kind !== 'video') throw new TypeError(`'${kind}' is no kind of track`);
  if (own.isClosed) throw invalidState('the connection is closed');
  if (init.direction === 'stopped') throw new TypeError('a transceiver cannot begin stopped');
  const encodings = checkEncodings(kind, init.sendEncodings);
  const codecs = initialCodecs(kind, init.sendEncodings);
  const ids = [...new Set(init.streams.map((stream) => stream.id))];
  const track = isKind ? null : trackOrKind;
  const stated = encodings.map((encoding) => present({ priority: 'low', ...encoding }));
  const id = native(() => own.native.addTransceiver(kind, init.direction, ids, stated, track !== null));
  const made = newTransceiver(own, { id, kind, direction: init.direction, track, streams: ids, codecs, kept: keptOf(init.sendEncodings) });
  own.transceivers.push(made);
  own.updateNegotiationNeeded();
  return made.object;
}

function createDataChannel(own, label, init) {
  if (own.isClosed) throw invalidState('the connection is closed');
  const tooLong = (text) => Buffer.byteLength(text) > 65535;
  if (tooLong(label) || tooLong(init.protocol)) throw new TypeError('the label or the protocol is longer than 65535 bytes');
  if (init.negotiated && init.id === undefined) throw new TypeError('a negotiated channel needs an id');
  if (init.maxPacketLifeTime !== undefined && init.maxRetransmits !== undefined) {
    throw new TypeError('maxPacketLifeTime and maxRetransmits exclude each other');
  }
  if (init.negotiated && init.id === 65535) throw new TypeError('65535 is not a channel id');
  const id = init.negotiated ? init.id : undefined;
  const stated = present({ ...init, id: undefined });
  if (id !== undefined) stated.id = id;
  const handle = native(() => own.native.createDataChannel(label, stated));
  const channel = newChannel(own, handle, { ...init, id, label }, 'connecting');
  own.updateNegotiationNeeded();
  return channel;
}

async function getTrackStats(own, track) {
  const sending = own.transceivers.filter((each) => each.object.sender.track === track);
  const receiving = own.transceivers.filter((each) => each.object.receiver.track === track);
  if (sending.length + receiving.length !== 1) {
    throw new DOMException('the track belongs to no sender or receiver, or to several', 'InvalidAccessError');
  }
  const [transceiver] = [...sending, ...receiving];
  return own.statsOf({ transceiver, outbound: sending.length > 0, inbound: receiving.length > 0 });
}
