/** The event interfaces (W3C webrtc-pc §4.8, §5.7, §6.4, §11.4). */

import {
  Slots, dictionary, interfaceOf, nullable, required, sequence, shape, string, unsignedShort, usvString,
} from './webidl.js';
import { RTCError } from './errors.js';

/** An event whose attributes are the members of its dictionary. */
function eventInterface(name, members, attributes, needsInit = false) {
  const slots = new Slots(name);
  const convert = dictionary(`${name}Init`, members());
  const made = {
    [name]: class extends Event {
      constructor(type, init) {
        required(needsInit ? 2 : 1, arguments.length, name);
        const own = convert(init);
        super(string(type), init ?? undefined);
        slots.set(this, own);
      }
    },
  };
  const Interface = made[name];
  Object.defineProperty(Interface, 'length', { value: needsInit ? 2 : 1, configurable: true });
  for (const attribute of attributes) {
    Object.defineProperty(Interface.prototype, attribute, {
      configurable: true,
      enumerable: true,
      get() {
        const value = slots.of(this)[attribute];
        return value;
      },
    });
    const { get } = Object.getOwnPropertyDescriptor(Interface.prototype, attribute);
    Object.defineProperty(get, 'name', { value: `get ${attribute}` });
  }
  return shape(Interface, name);
}

/** Interfaces that this module must not import, because their modules import it. */
const known = new Map();
export function register(name, Interface) {
  known.set(name, Interface);
}
const later = (name) => (value) => interfaceOf(known.get(name), name)(value);

export const RTCPeerConnectionIceEvent = eventInterface(
  'RTCPeerConnectionIceEvent',
  () => ({
    candidate: { as: nullable(later('RTCIceCandidate')), or: null },
    url: { as: nullable(string), or: null },
  }),
  ['candidate', 'url'],
);

export const RTCPeerConnectionIceErrorEvent = eventInterface(
  'RTCPeerConnectionIceErrorEvent',
  () => ({
    address: { as: nullable(string), or: null },
    errorCode: { as: unsignedShort, need: true },
    errorText: { as: usvString, or: '' },
    port: { as: nullable(unsignedShort), or: null },
    url: { as: string, or: '' },
  }),
  ['address', 'port', 'url', 'errorCode', 'errorText'],
  true,
);

export const RTCDataChannelEvent = eventInterface(
  'RTCDataChannelEvent',
  () => ({ channel: { as: later('RTCDataChannel'), need: true } }),
  ['channel'],
  true,
);

export const RTCTrackEvent = eventInterface(
  'RTCTrackEvent',
  () => ({
    receiver: { as: later('RTCRtpReceiver'), need: true },
    streams: { as: (value) => Object.freeze(sequence(later('MediaStream'))(value)), or: () => Object.freeze([]) },
    track: { as: later('MediaStreamTrack'), need: true },
    transceiver: { as: later('RTCRtpTransceiver'), need: true },
  }),
  ['receiver', 'track', 'streams', 'transceiver'],
  true,
);

export const RTCDTMFToneChangeEvent = eventInterface(
  'RTCDTMFToneChangeEvent',
  () => ({ tone: { as: string, or: '' } }),
  ['tone'],
);

export const RTCErrorEvent = eventInterface(
  'RTCErrorEvent',
  () => ({ error: { as: interfaceOf(RTCError, 'RTCError'), need: true } }),
  ['error'],
  true,
);

export const MediaStreamTrackEvent = eventInterface(
  'MediaStreamTrackEvent',
  () => ({ track: { as: later('MediaStreamTrack'), need: true } }),
  ['track'],
  true,
);

/** Fires a plain event. */
export function fire(target, type) {
  target.dispatchEvent(new Event(type));
}
