/** `RTCStatsReport` (W3C webrtc-pc §8.3). */

import { Slots, illegal, inside, shape } from './webidl.js';
import { describeAll } from './stats-dictionaries.js';
import { present } from './rtp-parameters.js';

const reports = new Slots('RTCStatsReport');

export class RTCStatsReport {
  constructor() {
    illegal(arguments[0]);
    reports.set(this, new Map(arguments[1].map((stats) => [stats.id, stats])));
  }
  get size() {
    return reports.of(this).size;
  }
  get(key) {
    return reports.of(this).get(String(key));
  }
  has(key) {
    return reports.of(this).has(String(key));
  }
  entries() {
    return reports.of(this).entries();
  }
  keys() {
    return reports.of(this).keys();
  }
  values() {
    return reports.of(this).values();
  }
  forEach(callback, thisArg = undefined) {
    for (const [key, value] of reports.of(this)) callback.call(thisArg, value, key, this);
  }
}
shape(RTCStatsReport, 'RTCStatsReport');
Object.defineProperty(RTCStatsReport.prototype.forEach, 'length', { value: 1, configurable: true });
Object.defineProperty(RTCStatsReport.prototype, Symbol.iterator, {
  value: RTCStatsReport.prototype.entries, writable: true, configurable: true,
});

/** What belongs to some streams: these, and all that they refer to (§8.5). */
function selected(all, wanted) {
  const byId = new Map(all.map((own) => [own.id, own]));
  const chosen = new Set();
  const take = (own) => {
    if (own === undefined || chosen.has(own)) return;
    chosen.add(own);
    for (const [key, value] of Object.entries(own)) if (/.Id$/.test(key)) take(byId.get(value));
  };
  all.filter(wanted).forEach(take);
  return all.filter((own) => chosen.has(own));
}

/** A report of a connection, or of what belongs to the sender or the receiver of one transceiver. */
export function report(connection, { transceiver, inbound, outbound } = {}) {
  const timestamp = performance.timeOrigin + performance.now();
  const everything = describeAll(connection);
  const isOf = (own) => own.owner === transceiver
    && ((inbound && own.type === 'inbound-rtp') || (outbound && (own.type === 'outbound-rtp' || own.type === 'media-source')));
  const all = transceiver === undefined ? everything : selected(everything, isOf);
  return new RTCStatsReport(inside, all.map(({ owner, ...own }) => ({ timestamp, ...present(own) })));
}
