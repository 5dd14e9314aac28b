/**
 * The dictionaries of webrtc-stats that have meaning here. `owner` is the transceiver that one is about.
 * The application decodes and encodes: `framesDecoded` are the frames handed to it, `framesEncoded` those
 * that it, or a synthetic source, handed over.
 */

import { channels as channelSlots } from './data-channel.js';
import { dtlsTransports, remoteCertificates } from './dtls-transport.js';
import { iceTransports } from './ice-transport.js';
import { tracks } from './media-stream-track.js';
import { receivers } from './rtp-receiver.js';
import { senders } from './rtp-sender.js';
import { derOf } from './certificate.js';
import { picture } from './synthetic-media.js';

const transportId = 'T01';
const pairStates = { Frozen: 'frozen', Waiting: 'waiting', InProgress: 'in-progress', Succeeded: 'succeeded', Failed: 'failed' };
const idOf = (side, end) => `I${side}${end.protocol ?? 'udp'}-${end.address}-${end.port}`;

function candidateStats(connection, stats) {
  const all = new Map();
  const type = { l: 'local-candidate', r: 'remote-candidate' };
  const fragments = {
    l: connection.native.localIceParameters()?.usernameFragment,
    r: connection.native.remoteIceParameters()?.usernameFragment,
  };
  const add = (side, end) => {
    const id = idOf(side, end);
    if (all.has(id)) return id;
    const { address, port, protocol, candidateType, priority, foundation, url, relayProtocol, relatedAddress, relatedPort, tcpType } = end;
    all.set(id, {
      id, type: type[side], transportId, address, ip: address, port, protocol, candidateType, priority, foundation,
      url, relayProtocol, relatedAddress, relatedPort, tcpType, usernameFragment: fragments[side],
    });
    return id;
  };
  for (const end of stats.locals) add('l', end);
  const pairs = stats.pairs.map((pair) => {
    const known = stats.locals.find((own) => own.address === pair.local.address && own.port === pair.local.port);
    const base = known ?? { ...pair.local, protocol: pair.remote.protocol, candidateType: 'prflx', priority: 0, foundation: '' };
    const localCandidateId = add('l', base);
    const remoteCandidateId = add('r', pair.remote);
    const { state, traffic, local, remote, ...rest } = pair;
    return {
      id: `CP${localCandidateId}_${remoteCandidateId}`, type: 'candidate-pair', transportId,
      localCandidateId, remoteCandidateId, state: pairStates[state], ...traffic, ...rest,
    };
  });
  return { candidates: [...all.values()], pairs };
}

function certificateStats(id, certificate) {
  const [{ algorithm, value }] = certificate.getFingerprints();
  return {
    id, type: 'certificate', fingerprint: value, fingerprintAlgorithm: algorithm,
    base64Certificate: derOf(certificate).toString('base64'),
  };
}

/** Our role in DTLS, as descriptions state it. */
function dtlsRole({ descriptions }) {
  const setup = (own) => /^a=setup:(\w+)/m.exec(own?.sdp ?? '')?.[1];
  const local = setup(descriptions.currentLocal);
  const remote = setup(descriptions.currentRemote);
  if (local === 'active' || remote === 'passive') return 'client';
  return local === 'passive' || remote === 'active' ? 'server' : 'unknown';
}

function transportStats(connection, stats, pairs) {
  const local = certificateStats('CFl', connection.certificate);
  const [theirs] = remoteCertificates(connection.dtlsTransport);
  const remote = theirs === undefined ? [] : [certificateStats('CFr', theirs)];
  // What is in use before one is nominated is the selected pair as well (RFC 8445 §8.1.1).
  const route = stats.transport.selectedRoute;
  const at = (end) => (own) => end !== null && own.address === end.address && own.port === end.port;
  const used = stats.pairs.findIndex((own) => at(route?.local ?? null)(own.local) && at(route?.remote ?? null)(own.remote));
  const selected = pairs.find((pair) => pair.nominated) ?? pairs[used];
  // What the system had no room for was meant for this pair.
  if (selected !== undefined) selected.packetsDiscardedOnSend = stats.transport.packetsDiscardedOnSend;
  const { lastPacketSentTimestamp, lastPacketReceivedTimestamp, ...traffic } = stats.transport.traffic;
  return [local, ...remote, {
    id: transportId, type: 'transport', dtlsState: dtlsTransports.of(connection.dtlsTransport).state,
    iceState: iceTransports.of(connection.ice).state, iceRole: connection.ice.role,
    iceLocalUsernameFragment: connection.native.localIceParameters()?.usernameFragment,
    selectedCandidatePairId: selected?.id, dtlsRole: dtlsRole(connection),
    localCertificateId: local.id, remoteCertificateId: remote[0]?.id,
    tlsVersion: stats.transport.tlsVersion, srtpCipher: stats.transport.srtpCipher, ...traffic,
    ccfbMessagesSent: stats.transport.ccfbMessagesSent, ccfbMessagesReceived: stats.transport.ccfbMessagesReceived,
    selectedCandidatePairChanges: stats.transport.selectedCandidatePairChanges,
  }];
}

function channelStats(connection) {
  return connection.madeChannels.map((channel) => {
    const own = channelSlots.of(channel);
    return {
      id: `D${own.handle}`, type: 'data-channel', label: own.info.label, protocol: own.info.protocol,
      dataChannelIdentifier: channel.id, state: own.readyState, ...own.counts,
    };
  });
}

/** The sources of our senders' tracks (§8.14 of webrtc-stats). */
function sourceStats(transceiver) {
  const own = senders.of(transceiver.sender);
  if (own.track === null) return [];
  const base = {
    id: `S${transceiver.id}`, type: 'media-source', owner: transceiver, trackIdentifier: own.track.id, kind: own.kind,
  };
  const { source } = tracks.of(own.track);
  if (source === null) return [base];
  // Of the synthetic sources all is known: what they show, and that they are silent.
  const seconds = own.fedSeconds;
  if (own.kind === 'audio') return [{ ...base, audioLevel: 0, totalAudioEnergy: 0, totalSamplesDuration: seconds }];
  const { width, height, frameRate } = picture;
  return [{ ...base, width, height, framesPerSecond: frameRate, frames: Math.round(seconds * frameRate) }];
}

/** The codecs of the streams, each once; answers the id for one. */
class Codecs {
  all = new Map();

  id(transceiver, name) {
    const { codecs } = transceiver.connection.native.parameters(transceiver.id);
    const own = codecs.find(({ mimeType }) => mimeType.toLowerCase() === `${transceiver.kind}/${name}`.toLowerCase()) ?? codecs[0];
    if (own === undefined) return undefined;
    const { payloadType, mimeType, clockRate, channels, sdpFmtpLine } = own;
    const id = `C${transportId}_${transceiver.mid}_${payloadType}`;
    this.all.set(id, { id, type: 'codec', transportId, payloadType, mimeType, clockRate, channels, sdpFmtpLine });
    return id;
  }
}

/** Numbers of the sources of retransmissions, by those that they repeat. */
function repairs(description) {
  const groups = (description?.sdp ?? '').matchAll(/^a=ssrc-group:FID (\d+) (\d+)/gm);
  return new Map([...groups].map(([, media, rtx]) => [Number(media), Number(rtx)]));
}

function outboundStats(connection, stats, codecs, byMid) {
  const all = [];
  const rtx = repairs(connection.descriptions.currentLocal);
  const indices = new Map();
  for (const { remote, ...rest } of stats.outbound) {
    const transceiver = byMid.get(rest.mid);
    if (transceiver === undefined) continue;
    const own = senders.of(transceiver.sender);
    const { kind } = own;
    const base = { kind, mediaType: kind, transportId, ssrc: rest.ssrc, codecId: codecs.id(transceiver, own.codec ?? own.fed?.choice?.codec ?? '') };
    const index = indices.get(rest.mid) ?? 0;
    indices.set(rest.mid, index + 1);
    const [id, remoteId] = [`O${transportId}${rest.ssrc}`, `RI${rest.ssrc}`];
    const { framesSent, keyFramesEncoded, ...counts } = rest;
    all.push({
      id, type: 'outbound-rtp', owner: transceiver, ...base, ...counts, ...(kind === 'video' ? { framesSent, keyFramesEncoded, ...picturesSent(connection, own, rest) } : {}),
      encodingIndex: index, rtxSsrc: rtx.get(rest.ssrc), remoteId: remote ? remoteId : undefined,
      mediaSourceId: own.track === null ? undefined : `S${transceiver.id}`,
    });
    if (remote) all.push({ id: remoteId, type: 'remote-inbound-rtp', owner: transceiver, ...base, localId: id, ...remote });
  }
  return all;
}

function picturesSent(connection, own, { framesSent, rid }) {
  const since = (performance.now() - connection.connectedAt) / 1000;
  const isFed = own.fed?.choice && !own.isWritten;
  const counts = own.counts.get(rid ?? undefined);
  // Nothing is encoded anew for each picture: what there is was made once, and is one layer.
  const size = isFed ? {
    frameWidth: picture.width, frameHeight: picture.height, framesPerSecond: picture.frameRate,
    encoderImplementation: 'twocan still picture', powerEfficientEncoder: true, scalabilityMode: 'L1T1',
    totalEncodeTime: counts?.encodeSeconds,
  } : {};
  return {
    framesEncoded: framesSent, ...size, hugeFramesSent: counts?.huge ?? 0,
    qpSum: counts?.isComplete ? counts.quantizers : undefined,
    // Nothing here makes pictures smaller or fewer than they came.
    qualityLimitationReason: 'none', qualityLimitationResolutionChanges: 0,
    qualityLimitationDurations: { none: Number.isFinite(since) ? since : 0, cpu: 0, bandwidth: 0, other: 0 },
  };
}

function inboundStats(connection, stats, codecs, byMid) {
  const all = [];
  const rtx = repairs(connection.descriptions.currentRemote);
  for (const { remote, keyFramesReceived, framesReceived, framesDropped, framesPerSecond, freezeCount, totalFreezesDuration, framesAssembledFromMultiplePackets, totalAssemblyTime, ...rest } of stats.inbound) {
    const transceiver = byMid.get(rest.mid);
    if (transceiver === undefined) continue;
    const own = receivers.of(transceiver.receiver);
    const { kind } = own;
    const base = { kind, mediaType: kind, transportId, ssrc: rest.ssrc, codecId: codecs.id(transceiver, own.codec ?? '') };
    const [id, remoteId] = [`I${transportId}${rest.ssrc}`, `RO${rest.ssrc}`];
    const { handed, sound } = own;
    const assembled = totalAssemblyTime ?? 0;
    // Of what the application decodes is known when it was handed over and how long that took.
    const processing = { totalProcessingDelay: assembled + handed.waitedSeconds + handed.sinkSeconds };
    const video = {
      framesReceived, framesDropped, framesPerSecond, freezeCount, totalFreezesDuration, framesAssembledFromMultiplePackets,
      totalAssemblyTime, framesDecoded: framesReceived - framesDropped, keyFramesDecoded: keyFramesReceived, ...own.pictures,
      totalDecodeTime: handed.sinkSeconds, totalInterFrameDelay: handed.interFrameDelay, ...processing,
      totalSquaredInterFrameDelay: handed.squaredInterFrameDelay, pauseCount: handed.pauses,
      totalPausesDuration: handed.pausedSeconds, qpSum: handed.isComplete ? handed.quantizers : undefined,
    };
    all.push({
      id, type: 'inbound-rtp', owner: transceiver, ...base, ...rest, trackIdentifier: own.track.id, remoteId: remote ? remoteId : undefined,
      ...(kind === 'video' ? { ...video, rtxSsrc: rtx.get(rest.ssrc) } : { ...sound, ...processing, ...unplayed(sound) }),
    });
    if (remote) {
      all.push({
        id: remoteId, type: 'remote-outbound-rtp', owner: transceiver, ...base, localId: id, ...remote, totalRoundTripTime: 0, roundTripTimeMeasurements: 0,
      });
    }
  }
  return all;
}

/** Nothing is played here: no sample is made, stretched or left out to keep pace. */
const unplayed = ({ concealedSamples }) => ({
  silentConcealedSamples: concealedSamples, insertedSamplesForDeceleration: 0, removedSamplesForAcceleration: 0,
});

/** Everything that there is to tell. */
export function describeAll(connection) {
  const stats = JSON.parse(connection.native.stats());
  const codecs = new Codecs();
  const byMid = new Map(connection.transceivers.filter(({ mid }) => mid !== null).map((own) => [own.mid, own]));
  const media = [...outboundStats(connection, stats, codecs, byMid), ...inboundStats(connection, stats, codecs, byMid)];
  const base = {
    id: 'P', type: 'peer-connection', dataChannelsOpened: connection.opened, dataChannelsClosed: connection.closed,
  };
  const hasTransport = connection.dtls !== null;
  const { candidates, pairs } = hasTransport ? candidateStats(connection, stats) : { candidates: [], pairs: [] };
  const below = hasTransport ? [...transportStats(connection, stats, pairs), ...pairs, ...candidates] : [];
  const sources = connection.transceivers.flatMap(sourceStats);
  return [base, ...channelStats(connection), ...sources, ...media, ...codecs.all.values(), ...below];
}
