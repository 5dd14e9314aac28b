import { RTCDataChannel, RTCPeerConnection, RTCRtpSFrameEncryptor, nonstandard } from '../../index.js';

async function call(peer: RTCPeerConnection, channel: RTCDataChannel): Promise<string> {
  peer.addEventListener('icecandidate', ({ candidate }) => {
    const line: string | undefined = candidate?.candidate;
    channel.send(line ?? '');
  });
  const track = nonstandard.createTrack('audio');
  const sender = peer.addTrack(track);
  nonstandard.writeFrame(sender, { codec: 'opus', timestamp: 0, data: new Uint8Array(3) });
  nonstandard.readFrames(peer.getReceivers()[0]!, ({ keyFrame, data }) => {
    if (keyFrame) channel.send(new Uint8Array(data).buffer);
  });
  nonstandard.registerIdentityProvider('idp.example', {
    generateAssertion: async (contents) => ({ idp: { domain: 'idp.example' }, assertion: contents }),
    validateAssertion: async (assertion) => ({ identity: 'alice@idp.example', contents: assertion }),
  });
  const encryptor = new RTCRtpSFrameEncryptor({ cipherSuite: 'AES_128_GCM_SHA256_128' });
  const key = await crypto.subtle.importKey('raw', new Uint8Array(16), 'HKDF', false, ['deriveBits']);
  await encryptor.setEncryptionKey(key, 1n);
  peer.setIdentityProvider('idp.example', { usernameHint: 'alice@idp.example' });
  const who: string = (await peer.peerIdentity).name;
  channel.send(who);
  const offer: RTCSessionDescriptionInit = await peer.createOffer();
  await peer.setLocalDescription(offer);
  // @ts-expect-error: no such member
  peer.speak();
  // @ts-expect-error: no such kind
  nonstandard.createTrack('smell');
  return offer.sdp ?? '';
}

const peer = new RTCPeerConnection({ iceServers: [{ urls: 'stun:192.0.2.1' }] });
void call(peer, peer.createDataChannel('chat', { ordered: false }));
