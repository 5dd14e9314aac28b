// node-datachannel: libdatachannel with usrsctp and libjuice, by its W3C polyfill. Data channels only: its media API
// takes finished RTP packets and its polyfill has none.
import { Peer } from './w3c.mjs';
import { load, main } from './process.mjs';

main(async (options) => {
  const { RTCPeerConnection } = load('node-datachannel/polyfill');
  if (options.media) throw new Error('node-datachannel: media is not supported by this peer');
  return new Peer({
    connection: () => new RTCPeerConnection({ iceServers: options.iceServers }),
    transport: (pc) => {
      const pair = pc.sctp?.transport?.iceTransport?.getSelectedCandidatePair?.();
      const candidate = (from) => from && { address: from.address, port: from.port, type: from.type, protocol: from.protocol };
      return { dtls: null, srtp: null, pair: pair ? { local: candidate(pair.local), remote: candidate(pair.remote) } : null };
    },
  }, options);
});
