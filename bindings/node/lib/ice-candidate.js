/** `RTCIceCandidate` (W3C webrtc-pc §4.8.1); its attributes are read by RFC 8839 §5.1. */

import { Slots, dictionary, nullable, shape, string, unsignedShort } from './webidl.js';
import { register } from './events.js';

const members = () => ({
  candidate: { as: string, or: '' },
  sdpMLineIndex: { as: nullable(unsignedShort), or: null },
  sdpMid: { as: nullable(string), or: null },
  usernameFragment: { as: nullable(string), or: null },
});

/** `RTCIceCandidateInit`. */
export const toCandidateInit = dictionary('RTCIceCandidateInit', members());
const toLocalInit = dictionary('RTCLocalIceCandidateInit', {
  ...members(),
  relayProtocol: { as: nullable(string), or: null },
  url: { as: nullable(string), or: null },
});

const types = new Set(['host', 'srflx', 'prflx', 'relay']);
const whole = (text, limit) => (/^\d{1,10}$/.test(text) && Number(text) < limit ? Number(text) : undefined);

/** What a candidate line says; null when it is malformed. */
function parse(line) {
  const text = line.startsWith('candidate:') ? line.slice(10) : line;
  const words = text.trim().split(/\s+/);
  if (words.length < 8 || words[6] !== 'typ') return null;
  const [foundation, componentText, protocolText, priorityText, address, portText] = words;
  const component = whole(componentText, 257);
  const priority = whole(priorityText, 2 ** 32);
  const port = whole(portText, 65536);
  const protocol = protocolText.toLowerCase();
  const type = words[7];
  if (component === undefined || priority === undefined || port === undefined) return null;
  if (!/^[A-Za-z0-9+/]{1,32}$/.test(foundation) || !types.has(type)) return null;
  if (protocol !== 'udp' && protocol !== 'tcp') return null;
  const more = new Map();
  for (let i = 8; i + 1 < words.length; i += 2) more.set(words[i], words[i + 1]);
  const tcpType = more.get('tcptype') ?? null;
  const relatedPort = more.has('rport') ? whole(more.get('rport'), 65536) : null;
  if (relatedPort === undefined) return null;
  return {
    foundation,
    component: component === 1 ? 'rtp' : component === 2 ? 'rtcp' : null,
    priority,
    address,
    protocol,
    port,
    type,
    tcpType: protocol === 'tcp' && ['active', 'passive', 'so'].includes(tcpType) ? tcpType : null,
    relatedAddress: more.get('raddr') ?? null,
    relatedPort,
    usernameFragment: more.get('ufrag') ?? null,
  };
}

const slots = new Slots('RTCIceCandidate');

export class RTCIceCandidate {
  constructor(candidateInitDict = {}) {
    const init = toLocalInit(candidateInitDict);
    if (init.sdpMid === null && init.sdpMLineIndex === null) {
      throw new TypeError('RTCIceCandidate: sdpMid and sdpMLineIndex are both null');
    }
    const parsed = parse(init.candidate);
    slots.set(this, { ...init, parsed: parsed ?? {} });
  }
  get candidate() {
    return slots.of(this).candidate;
  }
  get sdpMid() {
    return slots.of(this).sdpMid;
  }
  get sdpMLineIndex() {
    return slots.of(this).sdpMLineIndex;
  }
  get foundation() {
    return slots.of(this).parsed.foundation ?? null;
  }
  get component() {
    return slots.of(this).parsed.component ?? null;
  }
  get priority() {
    return slots.of(this).parsed.priority ?? null;
  }
  get address() {
    return slots.of(this).parsed.address ?? null;
  }
  get protocol() {
    return slots.of(this).parsed.protocol ?? null;
  }
  get port() {
    return slots.of(this).parsed.port ?? null;
  }
  get type() {
    return slots.of(this).parsed.type ?? null;
  }
  get tcpType() {
    return slots.of(this).parsed.tcpType ?? null;
  }
  get relatedAddress() {
    return slots.of(this).parsed.relatedAddress ?? null;
  }
  get relatedPort() {
    return slots.of(this).parsed.relatedPort ?? null;
  }
  get usernameFragment() {
    return slots.of(this).usernameFragment;
  }
  get relayProtocol() {
    return slots.of(this).relayProtocol;
  }
  get url() {
    return slots.of(this).url;
  }
  toJSON() {
    const { candidate, sdpMid, sdpMLineIndex, usernameFragment } = slots.of(this);
    return { candidate, sdpMid, sdpMLineIndex, usernameFragment };
  }
}
shape(RTCIceCandidate, 'RTCIceCandidate');
register('RTCIceCandidate', RTCIceCandidate);
