/** `RTCRtpReceiver` (W3C webrtc-pc §5.3). */

import { Slots, double, illegal, required, shape } from './webidl.js';
import { register } from './events.js';
import { present } from './rtp-parameters.js';
import { toCapabilities } from './rtp-sender.js';

export const receivers = new Slots('RTCRtpReceiver');

export class RTCRtpReceiver {
  constructor() {
    illegal(arguments[0]);
    receivers.set(this, { ...arguments[1], transport: null, streams: [], target: null });
  }
  get track() {
    return receivers.of(this).track;
  }
  get transport() {
    return receivers.of(this).transport;
  }
  get jitterBufferTarget() {
    return receivers.of(this).target;
  }
  set jitterBufferTarget(value) {
    const own = receivers.of(this);
    if (value === null || value === undefined) {
      own.target = null;
      return;
    }
    const number = double(value);
    if (number < 0 || number > 4000) throw new RangeError('jitterBufferTarget is outside of 0 to 4000 ms');
    own.target = number;
  }
  static getCapabilities(kind) {
    required(1, arguments.length, 'getCapabilities');
    return toCapabilities(kind);
  }
  getParameters() {
    const own = receivers.of(this);
    const empty = { headerExtensions: [], rtcp: { reducedSize: false }, codecs: [] };
    try {
      const got = own.connection.native.parameters(own.transceiver.id);
      return {
        headerExtensions: got.headerExtensions.map(({ uri, id }) => ({ uri, id, encrypted: false })),
        rtcp: { reducedSize: got.reducedSize },
        codecs: got.codecs.map(present),
      };
    } catch {
      return empty;
    }
  }
  getContributingSources() {
    receivers.of(this);
    return [];
  }
  getSynchronizationSources() {
    receivers.of(this);
    return [];
  }
  async getStats() {
    const own = receivers.of(this);
    return own.connection.statsOf({ transceiver: own.transceiver, inbound: true });
  }
}
shape(RTCRtpReceiver, 'RTCRtpReceiver');
register('RTCRtpReceiver', RTCRtpReceiver);
