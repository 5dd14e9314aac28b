//! Connections without descriptions: the parameters of ICE, DTLS, SCTP and RTP are exchanged and set
//! by hand, in the words of ORTC (<https://draft.ortc.org>).
//!
//! Each part is an object on top of the one before, and a handle of the same connection, which ends
//! with the last of them: [`IceGatherer`], [`IceTransport`], [`DtlsTransport`], [`SctpTransport`]
//! with its data channels, [`RtpSender`] and [`RtpReceiver`]. The stack below is that of
//! [`PeerConnection`](crate::PeerConnection).
//!
//! ```
//! use twocan::ortc::{DtlsTransport, IceGatherer, IceTransport, SctpTransport};
//! use twocan::{Configuration, DataChannelInit, Error, IceRole};
//!
//! /// One side. What it tells the other goes over whatever carries it.
//! struct Side {
//!     gatherer: IceGatherer,
//!     ice: IceTransport,
//!     dtls: DtlsTransport,
//!     sctp: SctpTransport,
//! }
//!
//! impl Side {
//!     fn new() -> Result<Self, Error> {
//!         let configuration = Configuration { loopback_candidates: true, ..Default::default() };
//!         let gatherer = IceGatherer::new(configuration)?;
//!         let ice = IceTransport::new(&gatherer);
//!         let dtls = DtlsTransport::new(&ice);
//!         let sctp = SctpTransport::new(&dtls);
//!         gatherer.gather()?;
//!         Ok(Self { gatherer, ice, dtls, sctp })
//!     }
//!
//!     async fn start(&self, other: &Side, role: IceRole) -> Result<(), Error> {
//!         self.ice.start(&other.gatherer.local_parameters(), role)?;
//!         self.ice.set_remote_candidates(&other.gatherer.gathered().await)?;
//!         self.dtls.start(&other.dtls.local_parameters())?;
//!         self.sctp.start(other.sctp.capabilities(), other.sctp.local_port())
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Error> {
//! let (ada, bob) = (Side::new()?, Side::new()?);
//! let chat = ada.sctp.create_data_channel("chat", DataChannelInit::default())?;
//! ada.start(&bob, IceRole::Controlling).await?;
//! bob.start(&ada, IceRole::Controlled).await?;
//! chat.opened().await?;
//! chat.send_text("no descriptions")?;
//! let arrived = bob.sctp.next_data_channel().await.ok_or(Error::Closed)?;
//! println!("{}: {:?}", arrived.label(), arrived.next_message().await);
//! # Ok(()) }
//! ```

mod candidate;
mod dtls;
mod ice;
mod rtp;
mod sctp;

pub use candidate::{IceCandidate, IceProtocol};
pub use dtls::{DtlsFingerprint, DtlsParameters, DtlsTransport};
pub use ice::{IceGatherer, IceTransport};
pub use rtp::{RtpReceiver, RtpSender};
pub use sctp::{SctpCapabilities, SctpTransport};

pub use twocan_proto::peer::ortc::{
    DtlsRole, IceParameters, OrtcError, RtcpFeedback, RtpCapabilities, RtpCodecParameters,
    RtpEncodingParameters, RtpParameters, RtpReason,
};
