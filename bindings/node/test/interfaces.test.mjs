import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as twocan from '../lib/index.js';
import { negotiate, pair } from './pair.mjs';

const {
  RTCCertificate, RTCDataChannel, RTCError, RTCErrorEvent, RTCIceCandidate, RTCPeerConnection,
  RTCPeerConnectionIceErrorEvent, RTCPeerConnectionIceEvent, RTCSessionDescription, RTCStatsReport, RTCTrackEvent,
} = twocan;

test('candidates are read as RFC 8839 writes them', () => {
  const candidate = 'candidate:905690388 1 tcp 2113937151 192.0.2.1 9 typ srflx raddr 10.0.0.1 rport 7 tcptype active ufrag x';
  const own = new RTCIceCandidate({ candidate, sdpMid: '0' });
  assert.deepEqual([
    own.foundation, own.component, own.protocol, own.priority, own.address, own.port, own.type, own.relatedAddress,
    own.relatedPort, own.tcpType, own.usernameFragment, own.sdpMLineIndex,
  ], ['905690388', 'rtp', 'tcp', 2113937151, '192.0.2.1', 9, 'srflx', '10.0.0.1', 7, 'active', null, null]);
  assert.deepEqual(Object.keys(own.toJSON()), ['candidate', 'sdpMid', 'sdpMLineIndex', 'usernameFragment']);
  const unread = new RTCIceCandidate({ candidate: 'nonsense', sdpMLineIndex: 1 });
  assert.deepEqual([unread.foundation, unread.port, unread.sdpMLineIndex], [null, null, 1]);
  assert.throws(() => new RTCIceCandidate({ candidate }), TypeError);
  assert.throws(() => new RTCIceCandidate(), TypeError);
  assert.throws(() => new RTCIceCandidate('text'), TypeError);
});

test('descriptions need a type', () => {
  assert.throws(() => new RTCSessionDescription(), TypeError);
  assert.throws(() => new RTCSessionDescription({ sdp: '' }), TypeError);
  assert.throws(() => new RTCSessionDescription({ type: 'unknown' }), TypeError);
  assert.deepEqual(new RTCSessionDescription({ type: 'offer' }).toJSON(), { type: 'offer', sdp: '' });
});

test('interfaces have the shape of Web IDL', () => {
  for (const [name, Interface] of Object.entries(twocan)) {
    if (name === 'nonstandard') continue;
    assert.equal(Interface.name, name);
    assert.equal(Interface.prototype[Symbol.toStringTag], name);
    for (const key of Object.keys(Object.getOwnPropertyDescriptors(Interface.prototype))) {
      const { enumerable } = Object.getOwnPropertyDescriptor(Interface.prototype, key);
      assert.equal(enumerable, key !== 'constructor', `${name}.${key}`);
    }
  }
  assert.throws(() => new RTCDataChannel(), TypeError);
  assert.throws(() => new RTCStatsReport(), TypeError);
  assert.throws(() => RTCPeerConnection(), TypeError);
  assert.throws(() => RTCPeerConnection.prototype.signalingState, TypeError);
  assert.equal(RTCPeerConnection.length, 0);
  assert.equal(RTCPeerConnection.prototype.addTrack.length, 1);
  assert.equal(RTCPeerConnection.prototype.createDataChannel.length, 1);
  assert.equal(RTCPeerConnection.prototype.setRemoteDescription.length, 1);
});

test('a configuration is checked, and shown with its defaults', (t) => {
  const refused = (configuration, error) => assert.throws(() => new RTCPeerConnection(configuration), error);
  refused(3, TypeError);
  refused({ bundlePolicy: null }, TypeError);
  refused({ iceCandidatePoolSize: 256 }, TypeError);
  refused({ iceServers: [{}] }, TypeError);
  refused({ iceServers: [{ urls: [] }] }, { name: 'SyntaxError' });
  refused({ iceServers: [{ urls: 'http://example.net' }] }, { name: 'SyntaxError' });
  refused({ iceServers: [{ urls: 'stun:example.net?transport=udp' }] }, { name: 'SyntaxError' });
  refused({ iceServers: [{ urls: 'turn:example.net' }] }, { name: 'InvalidAccessError' });
  for (const url of ['', 'stun:', 'stun:example.net:65536', 'stun:example.net#part', 'turn://example.org/?x=y', 'stun:a b']) {
    refused({ iceServers: [{ urls: url }] }, { name: 'SyntaxError' });
  }
  for (const url of ['stun:example.net:443', 'STUN:faß.example', 'stun:[2001:db8::1]:1', 'stun:ex%61mple.net', 'stun:256']) {
    new RTCPeerConnection({ iceServers: [{ urls: url }] }).close();
  }
  refused({ certificates: [{}] }, TypeError);
  const [own] = pair(t, [{ iceServers: [{ urls: 'stun:192.0.2.1' }] }]);
  const shown = own.getConfiguration();
  assert.deepEqual(shown, {
    bundlePolicy: 'balanced', certificates: [], iceCandidatePoolSize: 0, iceServers: [{ urls: ['stun:192.0.2.1'] }],
    iceTransportPolicy: 'all', rtcpMuxPolicy: 'require', alwaysNegotiateDataChannels: false,
  });
  assert.throws(() => own.setConfiguration({ bundlePolicy: 'max-bundle' }), { name: 'InvalidModificationError' });
  own.setConfiguration({ iceTransportPolicy: 'relay' });
  assert.equal(own.getConfiguration().iceTransportPolicy, 'relay');
});

test('certificates have a date and a fingerprint, which the offer states', async (t) => {
  const certificate = await RTCPeerConnection.generateCertificate({ name: 'ECDSA', namedCurve: 'P-256', expires: 3_600_000 });
  assert.ok(certificate instanceof RTCCertificate);
  assert.ok(Math.abs(certificate.expires - Date.now() - 3_600_000) < 60_000);
  const [a] = pair(t, [{ certificates: [certificate] }]);
  a.createDataChannel('');
  const [{ algorithm, value }] = certificate.getFingerprints();
  const { sdp } = await a.createOffer();
  assert.ok(sdp.toLowerCase().includes(`a=fingerprint:${algorithm} ${value}`));
  const rsa = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };
  await assert.rejects(RTCPeerConnection.generateCertificate(rsa), { name: 'NotSupportedError' });
  await assert.rejects(RTCPeerConnection.generateCertificate({ name: rsa.name }), TypeError);
  await assert.rejects(RTCPeerConnection.generateCertificate({}), TypeError);
  const old = await RTCPeerConnection.generateCertificate({ name: 'ECDSA', namedCurve: 'P-256', expires: 0 });
  assert.throws(() => new RTCPeerConnection({ certificates: [old] }), { name: 'InvalidAccessError' });
});

test('events are made from their dictionaries', () => {
  const candidate = new RTCIceCandidate({ sdpMid: '' });
  assert.equal(new RTCPeerConnectionIceEvent('x', { candidate }).candidate, candidate);
  assert.equal(new RTCPeerConnectionIceEvent('x').candidate, null);
  assert.throws(() => new RTCPeerConnectionIceEvent('x', { candidate: {} }), TypeError);
  assert.throws(() => new RTCPeerConnectionIceEvent(), TypeError);
  assert.equal(new RTCPeerConnectionIceErrorEvent('x', { errorCode: 701 }).errorCode, 701);
  assert.throws(() => new RTCTrackEvent('track', {}), TypeError);
  const error = new RTCError({ errorDetail: 'dtls-failure', receivedAlert: 40 }, 'why');
  assert.deepEqual([error.name, error.code, error.message, error.receivedAlert, error.sentAlert], ['OperationError', 0, 'why', 40, null]);
  assert.ok(error instanceof DOMException);
  assert.equal(new RTCErrorEvent('error', { error, bubbles: true }).bubbles, true);
});

test('handlers are attributes, and are called in the place where they were first set', (t) => {
  const [own] = pair(t);
  const seen = [];
  own.addEventListener('track', () => seen.push(1));
  own.ontrack = () => seen.push('replaced');
  own.addEventListener('track', () => seen.push(3));
  own.ontrack = () => seen.push(2);
  own.dispatchEvent(new Event('track'));
  own.ontrack = 'no function';
  assert.equal(own.ontrack, null);
  own.dispatchEvent(new Event('track'));
  assert.deepEqual(seen, [1, 2, 3, 1, 3]);
});

test('candidates are added to the section that they name', async (t) => {
  const [a, b] = pair(t);
  await assert.rejects(b.addIceCandidate({ candidate: 'candidate:1 1 udp 1 192.0.2.1 9 typ host', sdpMid: '0' }), {
    name: 'InvalidStateError',
  });
  a.createDataChannel('');
  // Without candidates of its own, as it is before any is gathered.
  await b.setRemoteDescription(await a.createOffer());
  const candidate = 'candidate:1 1 udp 2113929471 192.0.2.1 10100 typ host';
  await b.addIceCandidate({ candidate, sdpMid: '0' });
  await b.addIceCandidate({ candidate: '', sdpMLineIndex: 0 });
  await b.addIceCandidate();
  await b.addIceCandidate(null);
  assert.ok(b.remoteDescription.sdp.includes(`a=${candidate}\r\na=end-of-candidates\r\n`));
  const refused = (init, error) => assert.rejects(b.addIceCandidate(init), error);
  await refused({ candidate }, TypeError);
  await refused({ candidate, sdpMid: 'none' }, { name: 'OperationError' });
  await refused({ candidate, sdpMLineIndex: 3 }, { name: 'OperationError' });
  await refused({ candidate, sdpMid: '0', usernameFragment: 'other' }, { name: 'OperationError' });
  await refused({ candidate: 'nonsense', sdpMid: '0' }, { name: 'OperationError' });
});

test('statistics describe the connection and its channels', async (t) => {
  const [a, b] = pair(t);
  a.createDataChannel('known', { protocol: 'p' });
  await negotiate(a, b);
  const report = await a.getStats();
  assert.ok(report instanceof RTCStatsReport);
  const types = [...report.values()].map(({ type }) => type);
  for (const type of ['peer-connection', 'data-channel', 'transport', 'certificate']) assert.ok(types.includes(type), type);
  const channel = [...report.values()].find(({ type }) => type === 'data-channel');
  assert.deepEqual([channel.label, channel.protocol], ['known', 'p']);
  assert.ok(['connecting', 'open'].includes(channel.state));
  for (const [id, stats] of report) {
    assert.equal(stats.id, id);
    assert.ok(Math.abs(stats.timestamp - Date.now()) < 60_000);
  }
  await assert.rejects(a.getStats(twocan.nonstandard.createTrack('audio')), { name: 'InvalidAccessError' });
});

test('the same interfaces come by require, and as globals', async () => {
  const { createRequire } = await import('node:module');
  const require = createRequire(import.meta.url);
  assert.equal(require('../lib/index.cjs').RTCPeerConnection, RTCPeerConnection);
  await import('../lib/globals.js');
  assert.equal(globalThis.RTCPeerConnection, RTCPeerConnection);
  assert.equal(Object.getOwnPropertyDescriptor(globalThis, 'RTCDataChannel').enumerable, false);
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  assert.deepEqual(stream.getTracks().map(({ kind }) => kind), ['audio']);
});
