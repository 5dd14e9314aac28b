/** Packages that were written for browsers, and a stack that we did not write. */

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import * as twocan from '../lib/index.js';
import { once, pair } from './pair.mjs';

const require = createRequire(import.meta.url);

test('werift answers, and offers, with data both ways', async (t) => {
  const werift = require('werift');
  for (const weOffer of [true, false]) {
    const [own] = pair(t);
    const foreign = new werift.RTCPeerConnection({ iceUseIpv6: false, iceAdditionalHostAddresses: ['127.0.0.1'] });
    own.addEventListener('icecandidate', ({ candidate }) => {
      if (candidate !== null && candidate.candidate !== '') foreign.addIceCandidate(candidate.toJSON());
    });
    foreign.onIceCandidate.subscribe((candidate) => {
      if (candidate) own.addIceCandidate(candidate.toJSON()).catch(() => {});
    });
    const reply = new Promise((resolve) => {
      const take = (channel) => {
        channel.onMessage.subscribe((data) => channel.send(`foreign ${data}`));
      };
      if (weOffer) foreign.onDataChannel.subscribe(take);
      else take(foreign.createDataChannel('theirs'));
      const use = (channel) => {
        channel.onmessage = ({ data }) => resolve(data);
        const hello = () => channel.send('hello');
        if (channel.readyState === 'open') hello();
        else channel.onopen = hello;
      };
      if (weOffer) use(own.createDataChannel('ours'));
      else own.ondatachannel = ({ channel }) => use(channel);
    });
    const [offerer, answerer] = weOffer ? [own, foreign] : [foreign, own];
    await offerer.setLocalDescription(await offerer.createOffer());
    await answerer.setRemoteDescription(offerer.localDescription);
    await answerer.setLocalDescription(await answerer.createAnswer());
    await offerer.setRemoteDescription(answerer.localDescription);
    assert.equal(await reply, 'foreign hello');
    await foreign.close();
  }
});

test('simple-peer', async (t) => {
  const SimplePeer = require('simple-peer');
  const { RTCPeerConnection, RTCSessionDescription, RTCIceCandidate } = twocan;
  const wrtc = { RTCPeerConnection, RTCSessionDescription, RTCIceCandidate };
  const config = { iceServers: [] };
  const both = [new SimplePeer({ initiator: true, wrtc, config }), new SimplePeer({ wrtc, config })];
  t.after(() => both.forEach((own) => own.destroy()));
  const [a, b] = both;
  a.on('signal', (data) => b.signal(data));
  b.on('signal', (data) => a.signal(data));
  const got = new Promise((resolve, reject) => {
    b.on('data', (data) => resolve(data.toString()));
    both.forEach((own) => own.on('error', reject));
  });
  a.on('connect', () => a.send('through simple-peer'));
  assert.equal(await got, 'through simple-peer');
  const gone = new Promise((resolve) => b.on('close', resolve));
  a.destroy();
  await gone;
});

/** What peerjs needs of a PeerServer: an id, and messages relayed. */
async function peerServer(t) {
  const { WebSocketServer } = require('ws');
  const server = createServer((request, response) => response.end(`id-${Math.trunc(Math.random() * 1e9)}`));
  const sockets = new WebSocketServer({ server });
  const clients = new Map();
  sockets.on('connection', (socket, request) => {
    const id = new URL(request.url, 'http://localhost').searchParams.get('id');
    clients.set(id, socket);
    socket.send(JSON.stringify({ type: 'OPEN' }));
    socket.on('message', (text) => {
      const message = JSON.parse(text);
      clients.get(message.dst)?.send(JSON.stringify({ ...message, src: id }));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of clients.values()) socket.terminate();
    server.close();
  });
  return server.address().port;
}

test('peerjs, with the interfaces as globals', async (t) => {
  await import('../lib/globals.js');
  globalThis.WebSocket ??= require('ws').WebSocket;
  globalThis.window ??= globalThis;
  // What a page has besides.
  globalThis.location ??= new URL('http://127.0.0.1/');
  const { Peer } = require('peerjs');
  const port = await peerServer(t);
  const options = { host: '127.0.0.1', port, path: '/', config: { iceServers: [] }, debug: 0 };
  const both = [new Peer('one', options), new Peer('two', options)];
  t.after(() => both.forEach((own) => own.destroy()));
  const [a, b] = both;
  await Promise.all(both.map((own) => new Promise((resolve) => own.on('open', resolve))));
  const got = new Promise((resolve) => b.on('connection', (own) => own.on('data', (data) => resolve(data))));
  const connection = a.connect('two', { reliable: true });
  connection.on('open', () => connection.send({ text: 'through peerjs', bytes: new Uint8Array([1, 2, 3]) }));
  const { text, bytes } = await got;
  assert.equal(text, 'through peerjs');
  assert.deepEqual([...new Uint8Array(bytes)], [1, 2, 3]);
});

test('a page of two connections, as tutorials have it', async (t) => {
  await import('../lib/globals.js');
  const local = new RTCPeerConnection(null);
  const remote = new RTCPeerConnection();
  t.after(() => [local, remote].forEach((own) => own.close()));
  local.onicecandidate = (e) => e.candidate && remote.addIceCandidate(new RTCIceCandidate(e.candidate));
  remote.onicecandidate = (e) => e.candidate && local.addIceCandidate(new RTCIceCandidate(e.candidate));
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  stream.getTracks().forEach((track) => local.addTrack(track, stream));
  const tracks = [];
  remote.ontrack = ({ track, streams: [first] }) => tracks.push([track.kind, first.id === stream.id]);
  const connected = once(remote, 'connectionstatechange', () => remote.connectionState === 'connected');
  const offer = await local.createOffer({ offerToReceiveAudio: 1 });
  await local.setLocalDescription(new RTCSessionDescription(offer));
  await remote.setRemoteDescription(local.localDescription);
  const answer = await remote.createAnswer();
  await remote.setLocalDescription(answer);
  await local.setRemoteDescription(remote.localDescription);
  await connected;
  assert.deepEqual(tracks, [['audio', true], ['video', true]]);
});
