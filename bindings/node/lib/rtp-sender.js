/** `RTCRtpSender` (W3C webrtc-pc §5.2). */

import {
  Slots, enumeration, illegal, inside, interfaceOf, nullable, required, shape,
} from './webidl.js';
import { capabilities } from './native.js';
import { exception, invalidState, native } from './errors.js';
import { register } from './events.js';
import { queueTask } from './tasks.js';
import { MediaStream } from './media-stream.js';
import { MediaStreamTrack } from './media-stream-track.js';
import { RTCDTMFSender } from './dtmf-sender.js';
import { checkEncodings, present, toSendParameters } from './rtp-parameters.js';

export const senders = new Slots('RTCRtpSender');
const isTrack = nullable(interfaceOf(MediaStreamTrack, 'MediaStreamTrack'));
const isStream = interfaceOf(MediaStream, 'MediaStream');

export class RTCRtpSender {
  constructor() {
    illegal(arguments[0]);
    const { connection, transceiver, kind, track, streams } = arguments[1];
    const own = senders.set(this, {
      connection, transceiver, kind, track, streams, transport: null, returned: null, encodings: null, dtmf: null,
    });
    if (kind === 'audio') own.dtmf = new RTCDTMFSender(inside, () => canInsert(own));
  }
  get track() {
    return senders.of(this).track;
  }
  get transport() {
    return senders.of(this).transport;
  }
  get dtmf() {
    return senders.of(this).dtmf;
  }
  static getCapabilities(kind) {
    required(1, arguments.length, 'getCapabilities');
    return toCapabilities(kind);
  }
  getParameters() {
    return getParameters(senders.of(this));
  }
  async setParameters(parameters) {
    const own = senders.of(this);
    required(1, arguments.length, 'setParameters');
    await setParameters(own, toSendParameters(parameters));
  }
  async replaceTrack(withTrack) {
    const own = senders.of(this);
    required(1, arguments.length, 'replaceTrack');
    const track = isTrack(withTrack);
    if (track !== null && track.kind !== own.kind) throw new TypeError(`the sender sends ${own.kind}`);
    return own.connection.chain(() => replaceTrack(own, track));
  }
  setStreams(...streams) {
    const own = senders.of(this);
    const given = streams.map(isStream);
    if (own.connection.isClosed) throw invalidState('the connection is closed');
    if (own.transceiver.isStopping) throw invalidState('the transceiver is stopped');
    own.streams = [...new Set(given.map((stream) => stream.id))];
    native(() => own.connection.native.setStreams(own.transceiver.id, own.streams));
    own.connection.updateNegotiationNeeded();
  }
  async getStats() {
    const own = senders.of(this);
    return own.connection.statsOf({ transceiver: own.transceiver, outbound: true });
  }
}
shape(RTCRtpSender, 'RTCRtpSender');
register('RTCRtpSender', RTCRtpSender);

/** `RTCRtpCapabilities`; null for a kind that nobody knows. */
export function toCapabilities(kind) {
  const text = String(kind);
  if (text !== 'audio' && text !== 'video') return null;
  const own = capabilities(text);
  return {
    codecs: own.codecs.map(present),
    headerExtensions: own.headerExtensions.map(({ uri }) => ({ uri })),
  };
}

function canInsert(own) {
  const { transceiver, connection } = own;
  if (connection.isClosed || transceiver.isStopping) return false;
  if (!['sendrecv', 'sendonly'].includes(transceiver.currentDirection) || own.track === null) return false;
  const codecs = native(() => connection.native.codecs(transceiver.id));
  return codecs.some((codec) => codec.mimeType.toLowerCase() === 'audio/telephone-event');
}

async function replaceTrack(own, track) {
  if (own.transceiver.isStopping) throw invalidState('the transceiver is stopped');
  await new Promise((resolve) => queueTask(resolve));
  if (own.connection.isClosed) return new Promise(() => {});
  own.track = track;
  native(() => own.connection.native.setHasTrack(own.transceiver.id, track !== null));
  return undefined;
}

function emptyParameters() {
  return { transactionId: '', encodings: [], headerExtensions: [], rtcp: { cname: '', reducedSize: false }, codecs: [] };
}

function getParameters(own) {
  if (own.returned !== null) return structuredClone(own.returned);
  let parameters = emptyParameters();
  try {
    const got = own.connection.native.parameters(own.transceiver.id);
    parameters = {
      transactionId: got.transactionId,
      encodings: got.encodings.map((encoding) => {
        const { priority, ...rest } = present(encoding);
        return { ...rest, priority, networkPriority: 'low' };
      }),
      headerExtensions: got.headerExtensions.map(({ uri, id }) => ({ uri, id, encrypted: false })),
      rtcp: { cname: got.cname, reducedSize: got.reducedSize },
      codecs: got.codecs.map(present),
    };
  } catch {
    // A stopped transceiver has no parameters left.
  }
  own.returned = parameters;
  // The transaction lasts until the task is over (§5.2, `getParameters`).
  queueTask(() => {
    own.returned = null;
  });
  return structuredClone(parameters);
}

async function setParameters(own, parameters) {
  if (own.transceiver.isStopping) throw invalidState('the transceiver is stopped');
  const last = own.returned;
  if (last === null) throw invalidState('getParameters was not called in this task');
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const modified = (what) => new DOMException(`${what} cannot be changed`, 'InvalidModificationError');
  if (parameters.transactionId !== last.transactionId) throw modified('transactionId');
  if (parameters.encodings.length !== last.encodings.length) throw modified('the number of encodings');
  const rids = (list) => list.map((encoding) => encoding.rid ?? null);
  if (!same(rids(parameters.encodings), rids(last.encodings))) throw modified('rid');
  const sorted = (list) => list.map((item) => Object.entries(item).sort());
  if (!same(sorted(parameters.codecs), sorted(last.codecs))) throw modified('codecs');
  if (!same(sorted(parameters.headerExtensions), sorted(last.headerExtensions))) throw modified('headerExtensions');
  if (!same(Object.entries(parameters.rtcp).sort(), Object.entries(last.rtcp).sort())) throw modified('rtcp');
  const encodings = checkEncodings(own.kind, parameters.encodings);
  own.returned = null;
  await new Promise((resolve) => queueTask(resolve));
  try {
    const now = own.connection.native.parameters(own.transceiver.id);
    const stated = encodings.map(({ networkPriority, ...rest }, index) => ({ ...rest, rid: now.encodings[index]?.rid }));
    own.connection.native.setParameters(own.transceiver.id, now.transactionId, stated.map(present));
  } catch (error) {
    throw exception(error);
  }
}
