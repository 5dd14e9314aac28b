/** `RTCDataChannel` (W3C webrtc-pc §6.2). */

import {
  Slots, enumeration, handlerAttributes, illegal, inside, required, shape, unsignedLong, usvString,
} from './webidl.js';
import { RTCError, invalidState, native } from './errors.js';
import { RTCErrorEvent, fire, register } from './events.js';

export const channels = new Slots('RTCDataChannel');
const isBinaryType = enumeration('BinaryType', ['blob', 'arraybuffer']);

export class RTCDataChannel extends EventTarget {
  constructor() {
    super();
    illegal(arguments[0]);
    const { connection, handle, info, readyState } = arguments[1];
    channels.set(this, {
      connection, handle, info, readyState,
      id: info.id ?? null, binaryType: 'arraybuffer', threshold: 0,
      // What `bufferedAmount` shows: it falls in tasks of its own, never within one of the application.
      buffered: 0, isFresh: false, waiting: [], isPumping: false,
      wasOpen: false, counts: { messagesSent: 0, bytesSent: 0, messagesReceived: 0, bytesReceived: 0 },
    });
  }
  get label() {
    return channels.of(this).info.label;
  }
  get ordered() {
    return channels.of(this).info.ordered;
  }
  get maxPacketLifeTime() {
    return channels.of(this).info.maxPacketLifeTime ?? null;
  }
  get maxRetransmits() {
    return channels.of(this).info.maxRetransmits ?? null;
  }
  get protocol() {
    return channels.of(this).info.protocol;
  }
  get negotiated() {
    return channels.of(this).info.negotiated;
  }
  get priority() {
    return channels.of(this).info.priority;
  }
  get id() {
    const own = channels.of(this);
    own.id ??= own.connection.native.channelId(own.handle) ?? null;
    return own.id;
  }
  get readyState() {
    return channels.of(this).readyState;
  }
  get bufferedAmount() {
    const own = channels.of(this);
    refresh(own);
    return own.buffered;
  }
  get bufferedAmountLowThreshold() {
    return channels.of(this).threshold;
  }
  set bufferedAmountLowThreshold(value) {
    const own = channels.of(this);
    own.threshold = unsignedLong(value);
    own.connection.native.setBufferedAmountLowThreshold(own.handle, own.threshold);
  }
  get binaryType() {
    return channels.of(this).binaryType;
  }
  set binaryType(value) {
    const own = channels.of(this);
    try {
      own.binaryType = isBinaryType(value);
    } catch {
      // An enumeration attribute ignores what it does not know.
    }
  }
  send(data) {
    const own = channels.of(this);
    required(1, arguments.length, 'send');
    send(this, own, data);
  }
  close() {
    const own = channels.of(this);
    if (own.readyState === 'closing' || own.readyState === 'closed') return;
    refresh(own);
    own.readyState = 'closing';
    if (own.waiting.length === 0) own.connection.native.closeChannel(own.handle);
  }
}
shape(RTCDataChannel, 'RTCDataChannel');
handlerAttributes(RTCDataChannel, channels, [
  'open', 'bufferedamountlow', 'error', 'closing', 'close', 'message',
]);
register('RTCDataChannel', RTCDataChannel);

function refresh(own) {
  if (own.isFresh || own.readyState !== 'open') return;
  const waiting = own.waiting.reduce((sum, item) => sum + item.length, 0);
  own.buffered = (own.connection.native.bufferedAmount(own.handle) ?? 0) + waiting;
}

/** What is to be sent, as text, bytes or a blob, with its length in bytes. */
function toItem(data) {
  if (data instanceof Blob) return { blob: data, length: data.size };
  if (data instanceof ArrayBuffer || (typeof SharedArrayBuffer !== 'undefined' && data instanceof SharedArrayBuffer)) {
    const bytes = Buffer.from(new Uint8Array(data));
    return { bytes, length: bytes.length };
  }
  if (ArrayBuffer.isView(data)) {
    const bytes = Buffer.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return { bytes, length: bytes.length };
  }
  const text = usvString(data);
  return { text, length: Buffer.byteLength(text) };
}

function send(channel, own, data) {
  const item = toItem(data);
  if (own.readyState !== 'open') throw invalidState(`the channel is ${own.readyState}`);
  const max = own.connection.native.sctp()?.maxMessageSize ?? Infinity;
  if (item.length > max) throw new TypeError(`the message has ${item.length} bytes, the other side takes ${max}`);
  refresh(own);
  if (item.blob !== undefined || own.waiting.length > 0) {
    own.waiting.push(item);
    if (!own.isPumping) pump(channel, own);
  } else {
    native(() => sendNow(own, item));
  }
  own.buffered += item.length;
  own.counts.messagesSent += 1;
  own.counts.bytesSent += item.length;
  if (!own.isFresh) {
    own.isFresh = true;
    setImmediate(() => {
      own.isFresh = false;
    });
  }
}

function sendNow(own, item) {
  if (item.text !== undefined) own.connection.native.sendText(own.handle, item.text);
  else own.connection.native.sendBytes(own.handle, item.bytes);
}

/** Blobs are read before they are sent; what comes after them waits, so that the order holds. */
async function pump(channel, own) {
  own.isPumping = true;
  while (own.waiting.length > 0) {
    const [item] = own.waiting;
    try {
      if (item.blob !== undefined) {
        const bytes = Buffer.from(await item.blob.arrayBuffer());
        sendNow(own, { bytes });
      } else {
        sendNow(own, item);
      }
    } catch {
      if (own.readyState !== 'closed') own.connection.native.closeChannel(own.handle);
      own.waiting.length = 0;
      break;
    }
    own.waiting.shift();
  }
  own.isPumping = false;
  if (own.readyState === 'closing') own.connection.native.closeChannel(own.handle);
}

/** A channel that the application made, or that the other side announced. */
export function newChannel(connection, handle, info, readyState) {
  const channel = new RTCDataChannel(inside, { connection, handle, info, readyState });
  connection.channels.set(handle, channel);
  connection.madeChannels.push(channel);
  return channel;
}

/** Announces a channel as open (§6.2.3). */
export function announceOpen(channel) {
  const own = channels.of(channel);
  if (own.readyState === 'closing' || own.readyState === 'closed') return;
  own.connection.refreshSctp();
  own.readyState = 'open';
  if (!own.wasOpen) own.connection.opened += 1;
  own.wasOpen = true;
  fire(channel, 'open');
}

function onMessage(channel, own, event) {
  if (own.readyState !== 'open' && own.readyState !== 'closing') return;
  own.counts.messagesReceived += 1;
  own.counts.bytesReceived += event.data?.length ?? Buffer.byteLength(event.text);
  let data = event.text;
  if (event.data !== undefined && event.data !== null) {
    const { buffer, byteOffset, byteLength } = event.data;
    const bytes = buffer.slice(byteOffset, byteOffset + byteLength);
    data = own.binaryType === 'blob' ? new Blob([bytes]) : bytes;
  }
  channel.dispatchEvent(new MessageEvent('message', { data, origin: '' }));
}

function onClose(channel, own) {
  if (own.readyState === 'closed') return;
  // Neither side closed it: the association under it ended.
  const abrupt = own.readyState === 'open';
  own.readyState = 'closed';
  own.connection.channels.delete(own.handle);
  own.connection.forget(channel, own.wasOpen);
  if (abrupt) {
    const error = new RTCError({ errorDetail: 'sctp-failure', sctpCauseCode: 12 }, 'the association ended');
    channel.dispatchEvent(new RTCErrorEvent('error', { error }));
  }
  fire(channel, 'close');
}

/** Something happened to a channel in the stack. */
export function onChannelEvent(channel, event) {
  const own = channels.of(channel);
  own.id ??= own.connection.native.channelId(own.handle) ?? null;
  switch (event.kind) {
    case 'open':
      announceOpen(channel);
      break;
    case 'message':
      onMessage(channel, own, event);
      break;
    case 'bufferedamountlow':
      own.isFresh = false;
      refresh(own);
      // More may have been sent since: it is told again when that has gone.
      if (own.readyState === 'open' && own.waiting.length === 0 && own.buffered <= own.threshold) fire(channel, 'bufferedamountlow');
      break;
    case 'closing':
      if (own.readyState === 'open') {
        refresh(own);
        own.readyState = 'closing';
        fire(channel, 'closing');
      }
      break;
    case 'close':
      onClose(channel, own);
      break;
    default:
  }
}

/** `close` of the connection: without events (§4.4.1.8). */
export function shutChannel(channel) {
  const own = channels.of(channel);
  refresh(own);
  own.readyState = 'closed';
  own.waiting.length = 0;
}

