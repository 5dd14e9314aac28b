/**
 * Another peer takes the place of the one before (RFC 9429 §5.11, RFC 8842 §5.5): with an ICE restart it brings
 * its own certificate, and everything above ICE begins again.
 */

import assert from 'node:assert/strict';
import { media, negotiate, next, peers, reaches, test, trickle } from './page.mjs';

const foreign = Array.from({ length: 32 }, () => 'AA').join(':');
const withForeignCertificate = ({ type, sdp }) => ({ type, sdp: sdp.replace(/(a=fingerprint:sha-256 ).*/g, `$1${foreign}`) });

/** The counts of a stream that arrives, once one is there that fits. */
async function inbound(peer, kind, accept) {
  for (;;) {
    for (const own of (await peer.getStats()).values()) {
      if (own.type === 'inbound-rtp' && own.kind === kind && own.bytesReceived > 0 && accept(own)) return own;
    }
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
}

for (const kind of ['audio', 'video']) {
  test(`${kind} comes from the second peer`, async (t) => {
    const [own, first, second] = peers(t, 3);
    own.addTransceiver(kind, { direction: 'recvonly' });
    first.addTrack(await media(t, kind));
    second.addTrack(await media(t, kind));
    trickle(own, first);
    await negotiate(own, first);
    const before = await inbound(own, kind, () => true);
    const [{ transport }] = own.getReceivers();
    const [old] = transport.getRemoteCertificates();
    own.restartIce();
    trickle(own, second);
    await negotiate(own, second);
    await inbound(own, kind, ({ ssrc }) => ssrc !== before.ssrc);
    const [fresh] = transport.getRemoteCertificates();
    assert.notDeepEqual(new Uint8Array(fresh), new Uint8Array(old));
    assert.equal(transport.state, 'connected');
  });
}

test('channels end with the first peer, and the second one opens its own', async (t) => {
  const [own, first, second] = peers(t, 3);
  const channel = own.createDataChannel('to the first');
  trickle(own, first);
  await negotiate(own, first);
  if (channel.readyState !== 'open') await next(channel, 'open');
  const ended = next(channel, 'close');
  own.restartIce();
  trickle(own, second);
  await negotiate(own, second);
  await ended;
  assert.equal(channel.readyState, 'closed');
  const theirs = second.createDataChannel('from the second');
  const { channel: ours } = await next(own, 'datachannel');
  // The channel is announced before it says that it is open.
  await next(ours, 'open');
  ours.send('hello');
  assert.equal((await next(theirs, 'message')).data, 'hello');
});

test('a certificate that does not fit fails, and the first peer is not gone back to', async (t) => {
  const [own, first, second] = peers(t, 3);
  own.createDataChannel('');
  trickle(own, first);
  await negotiate(own, first);
  await reaches(own, 'connectionState', 'connected');
  own.restartIce();
  trickle(own, second);
  await own.setLocalDescription();
  await second.setRemoteDescription(own.localDescription);
  await second.setLocalDescription();
  await own.setRemoteDescription(withForeignCertificate(second.localDescription));
  await reaches(own, 'connectionState', 'failed');
  assert.equal(own.sctp.transport.state, 'failed');
});

test('without an ICE restart another certificate is refused', async (t) => {
  const [own, other] = peers(t);
  own.createDataChannel('');
  await negotiate(own, other);
  const offer = await own.createOffer();
  await assert.rejects(other.setRemoteDescription(withForeignCertificate(offer)), { name: 'InvalidAccessError' });
  await own.setLocalDescription(offer);
  await other.setRemoteDescription(offer);
  const answer = await other.createAnswer();
  await assert.rejects(own.setRemoteDescription(withForeignCertificate(answer)), { name: 'InvalidAccessError' });
  await own.setRemoteDescription(answer);
});
