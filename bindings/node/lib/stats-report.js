/** `RTCStatsReport` (W3C webrtc-pc §8.3), with the dictionaries of webrtc-stats that have meaning here. */

import { Slots, illegal, inside, shape } from './webidl.js';
import { channels as channelSlots } from './data-channel.js';
import { dtlsTransports } from './dtls-transport.js';
import { iceTransports } from './ice-transport.js';
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

const pairStates = { Frozen: 'frozen', Waiting: 'waiting', InProgress: 'in-progress', Succeeded: 'succeeded', Failed: 'failed' };
const idOf = (side, end) => `I${side}${end.protocol ?? 'udp'}-${end.address}-${end.port}`;

function candidateStats(connection, stats) {
  const transportId = 'T01';
  const all = new Map();
  const type = { l: 'local-candidate', r: 'remote-candidate' };
  const add = (side, end) => {
    const id = idOf(side, end);
    if (all.has(id)) return id;
    const { address, port, protocol, candidateType, priority, foundation, url, relayProtocol, relatedAddress, relatedPort, tcpType } = end;
    all.set(id, {
      id, type: type[side], transportId, address, ip: address, port, protocol, candidateType, priority, foundation,
      url, relayProtocol, relatedAddress, relatedPort, tcpType,
    });
    return id;
  };
  for (const end of stats.locals) add('l', end);
  const pairs = stats.pairs.map((pair) => {
    const known = stats.locals.find((own) => own.address === pair.local.address && own.port === pair.local.port);
    const base = known ?? { ...pair.local, protocol: pair.remote.protocol, candidateType: 'prflx', priority: 0, foundation: '' };
    const localCandidateId = add('l', base);
    const remoteCandidateId = add('r', pair.remote);
    return {
      id: `CP${localCandidateId}_${remoteCandidateId}`, type: 'candidate-pair', transportId,
      localCandidateId, remoteCandidateId, state: pairStates[pair.state], nominated: pair.nominated,
      totalRoundTripTime: pair.totalRoundTripTime, currentRoundTripTime: pair.currentRoundTripTime,
      availableOutgoingBitrate: pair.availableOutgoingBitrate,
      requestsReceived: pair.requestsReceived, requestsSent: pair.requestsSent,
      responsesReceived: pair.responsesReceived, responsesSent: pair.responsesSent,
    };
  });
  return { candidates: [...all.values()], pairs };
}

function transportStats(connection, stats, pairs) {
  if (connection.dtls === null) return [];
  const local = connection.certificate.getFingerprints()[0];
  const own = {
    id: 'CFl', type: 'certificate', fingerprint: local.value, fingerprintAlgorithm: local.algorithm,
  };
  return [own, {
    id: 'T01', type: 'transport', dtlsState: dtlsTransports.of(connection.dtls).state,
    iceState: iceTransports.of(connection.ice).state, iceRole: connection.ice.role,
    iceLocalUsernameFragment: connection.native.localIceParameters()?.usernameFragment,
    selectedCandidatePairId: pairs.find((pair) => pair.nominated)?.id,
    localCertificateId: own.id, tlsVersion: stats.transport.tlsVersion, srtpCipher: stats.transport.srtpCipher,
    ccfbMessagesSent: stats.transport.ccfbMessagesSent, ccfbMessagesReceived: stats.transport.ccfbMessagesReceived,
    selectedCandidatePairChanges: pairs.some((pair) => pair.nominated) ? 1 : 0,
  }];
}

function channelStats(connection) {
  return connection.madeChannels.map((channel) => {
    const own = channelSlots.of(channel);
    return {
      id: `D${own.handle}`, type: 'data-channel', label: own.info.label, protocol: own.info.protocol,
      dataChannelIdentifier: channel.id, state: own.readyState,
      ...own.counts,
    };
  });
}

function streams(connection, stats, transceiver) {
  const byMid = new Map(connection.transceivers.map((own) => [own.mid, own]));
  const all = [];
  const wanted = (own) => transceiver === undefined || byMid.get(own.mid) === transceiver;
  for (const own of stats.outbound.filter(wanted)) {
    const kind = byMid.get(own.mid)?.kind;
    const { remote, ...rest } = own;
    const id = `OT01${own.ssrc}`;
    all.push({ id, type: 'outbound-rtp', kind, mediaType: kind, transportId: 'T01', ...rest, remoteId: remote ? `RI${own.ssrc}` : undefined });
    if (remote) {
      all.push({ id: `RI${own.ssrc}`, type: 'remote-inbound-rtp', kind, ssrc: own.ssrc, transportId: 'T01', localId: id, ...remote });
    }
  }
  for (const own of stats.inbound.filter(wanted)) {
    const kind = byMid.get(own.mid)?.kind;
    const trackIdentifier = byMid.get(own.mid)?.object.receiver.track.id;
    all.push({ id: `IT01${own.ssrc}`, type: 'inbound-rtp', kind, mediaType: kind, trackIdentifier, transportId: 'T01', ...own });
  }
  return all;
}

/** A report of a connection, or of what belongs to one transceiver. */
export function report(connection, { transceiver, inbound, outbound } = {}) {
  const timestamp = performance.timeOrigin + performance.now();
  const stats = JSON.parse(connection.native.stats());
  const { candidates, pairs } = candidateStats(connection, stats);
  const media = streams(connection, stats, transceiver).filter((own) => {
    if (inbound) return own.type === 'inbound-rtp';
    if (outbound) return own.type !== 'inbound-rtp';
    return true;
  });
  const base = {
    id: 'P', type: 'peer-connection', dataChannelsOpened: connection.opened, dataChannelsClosed: connection.closed,
  };
  const isWhole = transceiver === undefined;
  const below = isWhole || media.length > 0
    ? [...transportStats(connection, stats, pairs), ...(connection.dtls === null ? [] : [...pairs, ...candidates])]
    : [];
  const all = [...(isWhole ? [base, ...channelStats(connection)] : []), ...media, ...below];
  return new RTCStatsReport(inside, all.map((own) => ({ timestamp, ...present(own) })));
}
