/** `RTCIceTransport` and `RTCIceCandidatePair` (W3C webrtc-pc §5.6). */

import { Slots, handlerAttributes, illegal, inside, shape } from './webidl.js';
import { fire } from './events.js';
import { RTCIceCandidate } from './ice-candidate.js';

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
    iceTransports.set(this, { native, announced, state: 'new', gatheringState: 'new', pair: null });
  }
  get role() {
    return iceTransports.of(this).native.iceRole();
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
    const { native, announced } = iceTransports.of(this);
    return native.localCandidates().filter((own) => announced.has(own.candidate, own.usernameFragment)).map(toCandidate);
  }
  getRemoteCandidates() {
    return iceTransports.of(this).native.remoteCandidates().map(toCandidate);
  }
  getSelectedCandidatePair() {
    return iceTransports.of(this).pair;
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

function toCandidate({ candidate, sdpMid = null, sdpMLineIndex = null, usernameFragment = null, url = null, relayProtocol = null }) {
  const section = sdpMid === null && sdpMLineIndex === null ? 0 : sdpMLineIndex;
  return new RTCIceCandidate({ candidate, sdpMid, sdpMLineIndex: section, usernameFragment, url, relayProtocol });
}

/** Another pair was selected, or none any more. */
export function setPair(transport, pair) {
  const own = iceTransports.of(transport);
  own.pair = pair === null ? null : new RTCIceCandidatePair(inside, { local: toCandidate(pair.local), remote: toCandidate(pair.remote) });
  fire(transport, 'selectedcandidatepairchange');
}

/** The transport reached a state: answers whether it is another one; the event is for the caller. */
export function setIceState(transport, state) {
  const own = iceTransports.of(transport);
  const changed = own.state !== state;
  own.state = state;
  return changed;
}

export function setGatheringState(transport, state) {
  const own = iceTransports.of(transport);
  if (own.gatheringState === state) return;
  own.gatheringState = state;
  fire(transport, 'gatheringstatechange');
}
