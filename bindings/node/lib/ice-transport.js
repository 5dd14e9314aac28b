/** `RTCIceTransport` and `RTCIceCandidatePair` (W3C webrtc-pc §5.6). */

import { Slots, handlerAttributes, illegal, inside, shape } from './webidl.js';
import { fire } from './events.js';
import { RTCIceCandidate } from './ice-candidate.js';
import { toDescriptionCandidates } from './sdp-candidates.js';

export const iceTransports = new Slots('RTCIceTransport');
const pairs = new Slots('RTCIceCandidatePair');

export class RTCIceCandidatePair {
  constructor() {
    illegal(arguments[0]);
    pairs.set(this, arguments[1]);
  }
  get local() {
    return pairs.of(this).local;
  }
  get remote() {
    return pairs.of(this).remote;
  }
}
shape(RTCIceCandidatePair, 'RTCIceCandidatePair');

export class RTCIceTransport extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    const { native, announced } = arguments[1];
    iceTransports.set(this, { native, announced, state: 'new', gatheringState: 'new', remotes: [], pair: null, key: '' });
  }
  get role() {
    const own = iceTransports.of(this);
    return own.native.localIceParameters() === null ? 'unknown' : own.native.iceRole();
  }
  get component() {
    iceTransports.of(this);
    return 'rtp';
  }
  get state() {
    return iceTransports.of(this).state;
  }
  get gatheringState() {
    return iceTransports.of(this).gatheringState;
  }
  getLocalCandidates() {
    const own = iceTransports.of(this);
    const [current, pending] = own.native.localDescriptions();
    return toDescriptionCandidates(own.announced.filter((pending ?? current)?.sdp ?? ''));
  }
  getRemoteCandidates() {
    const own = iceTransports.of(this);
    const state = own.native.state();
    const stated = toDescriptionCandidates((state.pendingRemote ?? state.currentRemote)?.sdp ?? '');
    const known = new Set(stated.map((candidate) => candidate.candidate));
    return [...stated, ...own.remotes.filter((candidate) => !known.has(candidate.candidate))];
  }
  getSelectedCandidatePair() {
    const own = iceTransports.of(this);
    selectPair(this, own);
    return own.pair;
  }
  getLocalParameters() {
    return parameters(iceTransports.of(this).native.localIceParameters());
  }
  getRemoteParameters() {
    return parameters(iceTransports.of(this).native.remoteIceParameters());
  }
}
shape(RTCIceTransport, 'RTCIceTransport');
handlerAttributes(RTCIceTransport, iceTransports, ['statechange', 'gatheringstatechange', 'selectedcandidatepairchange']);

function parameters(own) {
  return own === null || own === undefined
    ? null
    : { usernameFragment: own.usernameFragment, password: own.password };
}

function candidate(end, type) {
  const { address, port, priority, foundation, protocol, tcpType, candidateType } = end;
  const tcp = tcpType ? ` tcptype ${tcpType}` : '';
  const line = `candidate:${foundation} 1 ${protocol} ${priority} ${address} ${port} typ ${candidateType ?? type}${tcp}`;
  return new RTCIceCandidate({ candidate: line, sdpMLineIndex: 0 });
}

/** Looks which pair is selected; answers whether it is another one. */
function selectPair(transport, own) {
  const stats = JSON.parse(own.native.stats());
  const route = stats.transport.selectedRoute;
  if (route === null) return false;
  const at = (end) => (known) => known.address === end.address && known.port === end.port;
  const selected = stats.pairs.find((pair) => at(route.local)(pair.local) && at(route.remote)(pair.remote));
  if (selected === undefined) return false;
  const { local: base, remote } = selected;
  const local = stats.locals.find(at(base)) ?? { ...base, priority: 1, foundation: '1', protocol: remote.protocol };
  const key = `${base.address}|${base.port}|${remote.address}|${remote.port}`;
  if (key === own.key) return false;
  own.key = key;
  own.pairChanges = (own.pairChanges ?? 0) + 1;
  own.pair = new RTCIceCandidatePair(inside, { local: candidate(local, 'host'), remote: candidate(remote, 'host') });
  return true;
}

/** How often another pair was selected, of what was seen: states and statistics are when it is looked at. */
export function pairChanges(transport) {
  const own = iceTransports.of(transport);
  selectPair(transport, own);
  return own.pairChanges ?? 0;
}

/** The transport reached a state: answers whether it is another one; events are for the caller. */
export function setIceState(transport, state) {
  const own = iceTransports.of(transport);
  const changed = own.state !== state;
  own.state = state;
  const paired = ['connected', 'completed'].includes(state) && selectPair(transport, own);
  return { changed, paired };
}

export function setGatheringState(transport, state) {
  const own = iceTransports.of(transport);
  if (own.gatheringState === state) return;
  own.gatheringState = state;
  fire(transport, 'gatheringstatechange');
}
