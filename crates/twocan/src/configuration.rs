//! `RTCConfiguration`, `RTCCertificate`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use twocan_io::clock;
use twocan_proto::crypto::Hash;
use twocan_proto::dtls;
use twocan_proto::peer::{IceTransportPolicy, IceTransports};

use crate::environment::Environment;
use crate::error::Error;
use crate::ice_server::IceServer;
use crate::interceptor::InterceptorFactory;

/// Settings of a connection (W3C webrtc-pc §4.2.1).
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// `iceServers`: STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// `iceTransportPolicy`: with `Relay` nothing but TURN servers is used, and the other side learns
    /// none of our own addresses. Default all.
    pub ice_transport_policy: IceTransportPolicy,
    /// `iceCandidatePoolSize`: with any but 0, addresses are gathered before the first local
    /// description, which then has them at once. Default 0.
    pub ice_candidate_pool_size: u8,
    /// Our certificate. Default: a fresh one, valid for 30 days.
    pub certificate: Option<Certificate>,
    /// Also gather loopback addresses. Default no: browsers ignore them.
    pub loopback_candidates: bool,
    /// The interfaces that are used, by name. Default all. Not in the standard.
    pub interfaces: Option<Vec<String>>,
    /// Over which transport protocols ICE goes. Default UDP, and TCP (RFC 6544) where no UDP passes.
    /// Not in the standard.
    pub ice_transports: IceTransports,
    /// Ports that are bound, the first free one of them, for UDP and for listening on TCP each;
    /// streams that we open have any port. Default any. Not in the standard.
    pub ports: Option<RangeInclusive<u16>>,
    /// What our addresses are to others, behind a translator that gives each of them one of its
    /// own for good (NAT 1:1): our address, and the other, of the same family. Host candidates
    /// then have the other. Default none. Not in the standard.
    pub external_addresses: Vec<(IpAddr, IpAddr)>,
    /// Whether host candidates have a name in place of our address, `….local`, which multicast DNS
    /// resolves on our own network and nowhere else (draft-ietf-mmusic-mdns-ice-candidates): as in
    /// browsers, the other side learns no more of us than servers see. Statistics show our own
    /// addresses all the same. Default no: where multicast does not pass, a direct way may be missed.
    /// Not in the standard.
    pub hide_host_addresses: bool,
    /// Whether to be an ICE-lite agent (RFC 8445 §2.5), for a host that everybody reaches at its own
    /// addresses: it has host candidates alone, sends no checks, answers those of the other side
    /// and follows its choice. Another lite agent is refused by `InvalidAccessError`. Default no. Not
    /// in the standard.
    pub ice_lite: bool,
    /// Largest data channel message that we take, in bytes; 0 is no limit of ours. Default
    /// 262,144.
    pub max_message_size: Option<u64>,
    /// Whether frames of Opus are to be sent twice or three times where packets are lost (RED, RFC
    /// 2198), both ways: the order of codecs in our descriptions says that we want it. It costs as
    /// many times the rate of sound. Default no: it is sent only to a side that prefers it.
    pub audio_redundancy: bool,
    /// Names of the only codecs for sound that are offered and taken, the preferred one first, in any
    /// case, with the clock rate and the channels where several have the name (`PCMU`, `CN/8000`,
    /// `L16/48000/2`); names that we do not know are left out. RED and telephone events go with them where
    /// they fit. Comfort noise (`CN`) and `L16` are negotiated only where they are named here or in the
    /// preferences of a transceiver: whoever agrees on comfort noise is sent some. Default empty, as
    /// where none is known: all but those two. Not in the standard.
    pub audio_codecs: Vec<String>,
    /// Names of the only codecs for pictures that are offered and taken, the preferred one first, in
    /// any case, such as `VP8`; names that we do not know are left out. Default empty, as where
    /// none is known: all ([`RtpCapabilities`](crate::RtpCapabilities)). Of one transceiver:
    /// [`RtpTransceiver::set_codec_preferences`](crate::RtpTransceiver::set_codec_preferences). Not in
    /// the standard.
    pub video_codecs: Vec<String>,
    /// Whether the orientation of pictures is agreed on (3GPP TS 26.114 §6.2.3), both ways. A phone then
    /// sends what its camera sees and says how it is to be turned
    /// ([`PictureProperties::video_orientation`](crate::PictureProperties::video_orientation)), and the
    /// application turns it. Default no: the sender turns pictures by itself. Not in the standard.
    pub video_orientation: bool,
    /// Whether a simulcast that the other side offers is accepted: each of its streams then arrives
    /// on its own, with its [`rid`](crate::Frame::rid), as a forwarder wants it. Default no: the other
    /// side then sends one stream. Not in the standard.
    pub receive_simulcast: bool,
    /// `alwaysNegotiateDataChannels` (webrtc-extensions): whether offers have a section for data
    /// channels before there is a channel, in front of all media, so that the first channel needs no
    /// negotiation. Default no.
    pub always_negotiate_data_channels: bool,
    /// Whether FlexFEC is offered for video, beside ULPFEC: it protects every codec, ULPFEC only VP8
    /// and VP9. What the other side offers of it is accepted in any case. Default no: stacks that do
    /// not know it take its source for one more of media.
    pub offer_flexfec: bool,
    /// Whether reports of arrivals as RFC 8888 has them are offered (`ack ccfb`), beside those of the
    /// whole transport. They carry marks of congestion (ECN) and spare eight bytes in each packet.
    /// What the other side offers of it is accepted in any case. Default no.
    pub offer_congestion_feedback: bool,
    /// Whether routers may mark media in place of dropping it (ECN, RFC 3168): packets say so (ECT(0))
    /// where the other side reports marks, and a mark counts as the loss of that packet, without
    /// anything to be repaired. Offers reports by RFC 8888 as well. Default no: some networks set
    /// these bits for reasons of their own.
    pub ecn: bool,
    /// Whether media takes part in L4S (RFC 9331), in place of [`Self::ecn`]: packets say so (ECT(1)) where the other side
    /// reports marks of congestion, and the rate follows the part that is marked, so that queues
    /// stay short where the network marks. Offers reports by RFC 8888 as well. Default no: what is
    /// marked is new to many networks.
    pub l4s: bool,
    /// Whether what is sent is marked for routers (DSCP) by its priority, as RFC 8837 has it: packets of
    /// an encoding by [`EncodingParameters::network_priority`](crate::EncodingParameters), else by
    /// its `priority`, packets of data by the highest
    /// [`priority`](crate::DataChannelInit::priority) of a channel, reports as the most important
    /// encoding, checks and handshakes not at all. Sound of medium and high priority goes as EF,
    /// pictures as AF42 and AF41, data as AF11 and AF21; low priority, the default, is as everything
    /// else, very low is LE. On Linux; elsewhere nothing is marked. Default no: some networks drop what
    /// is marked, and marks tell an observer what is sound and what is a picture. Not in the standard.
    pub dscp: bool,
    /// Whether decisions and states are written down, for
    /// [`PeerConnection::next_log_entry`](crate::PeerConnection::next_log_entry). Default no. Not in
    /// the standard.
    pub event_log: bool,
    /// What sees the packets of media in the clear, and may change, drop and add some. Default nothing.
    /// Not in the standard.
    pub interceptor: Option<InterceptorFactory>,
    /// What is shared with other connections. Default: with all of the process.
    pub environment: Option<Environment>,
}

/// W3C webrtc-pc §4.9.1 lets us say how long a certificate is valid at most.
const VALID_FOR_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A certificate with its key (W3C webrtc-pc §4.9). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificate(pub(crate) Arc<dtls::Certificate>);

impl Certificate {
    /// `generateCertificate` with `expires`: ECDSA P-256, valid for that long, a year at most.
    ///
    /// # Errors
    /// `OperationError` when the provider refuses.
    pub fn generate_for(valid: Duration) -> Result<Self, Error> {
        let valid = valid.min(VALID_FOR_MAX);
        dtls::Certificate::generate_for(clock::now().wallclock, valid)
            .map(|made| Self(Arc::new(made)))
            .map_err(|_| Error::Operation("no certificate could be made"))
    }

    /// A certificate that was kept: itself and its PKCS #8 private key, both in DER, ECDSA on P-256, and
    /// when it ends, as time since 1970. A key that is not the certificate's shows when DTLS begins.
    pub fn from_der(der: Vec<u8>, private_key: Vec<u8>, expires: Duration) -> Self {
        Self(Arc::new(dtls::Certificate::from_der(
            der,
            private_key,
            expires,
        )))
    }

    /// The private key in PKCS #8, in DER, to keep the certificate: whoever has it can be taken for us.
    pub fn private_key(&self) -> &[u8] {
        self.0.private_key()
    }

    /// `expires`: when it ends, as time since 1970.
    pub fn expires(&self) -> Duration {
        self.0.expires()
    }

    /// The certificate itself, in DER.
    pub fn der(&self) -> &[u8] {
        self.0.der()
    }

    /// `getFingerprints`: the SHA-256 of the certificate, as descriptions state it.
    pub fn fingerprint(&self) -> (&'static str, String) {
        let fingerprint = self.0.fingerprint(Hash::Sha256);
        let bytes = fingerprint.digest.iter();
        let digits: Vec<String> = bytes.map(|byte| format!("{byte:02x}")).collect();
        (fingerprint.hash_name(), digits.join(":"))
    }

    /// `RTCPeerConnection.generateCertificate`: ECDSA P-256, valid for 30 days.
    ///
    /// # Errors
    /// `OperationError` when the provider refuses.
    pub fn generate() -> Result<Self, Error> {
        dtls::Certificate::generate(clock::now().wallclock)
            .map(|made| Self(Arc::new(made)))
            .map_err(|_| Error::Operation("no certificate could be made"))
    }
}
