//! Packets of media on their way, in the clear: an [`Interceptor`] sees those of a connection and may
//! change, drop and add some, as in Pion. [`Interceptor`] says where it stands between media and
//! network.
//!
//! ```
//! use twocan::Configuration;
//! use twocan::interceptor::{Added, Interceptor, InterceptorFactory, Now, RtpHeader, Verdict};
//!
//! /// Lets nothing in of sources that are not known.
//! #[derive(Debug)]
//! struct Known(Vec<u32>);
//!
//! impl Interceptor for Known {
//!     fn incoming_rtp(&mut self, _: Now, packet: &mut Vec<u8>, _: &mut Added) -> Verdict {
//!         match RtpHeader::parse(packet) {
//!             Ok(header) if self.0.contains(&header.ssrc.0) => Verdict::Pass,
//!             _ => Verdict::Drop,
//!         }
//!     }
//! }
//!
//! let configuration = Configuration {
//!     interceptor: Some(InterceptorFactory::new(|| Known(vec![0x1234_5678]))),
//!     ..Configuration::default()
//! };
//! ```
//!
//! What is refused of what an interceptor makes is counted in
//! [`StatsReport::dropped`](crate::StatsReport::dropped), by reasons that begin with `interceptor.`.

pub use twocan_proto::peer::{
    Added, INTERCEPTED_LEN_MAX, Interceptor, InterceptorFactory, Verdict,
};
pub use twocan_proto::time::Now;
pub use twocan_proto::wire::rtcp;
pub use twocan_proto::wire::rtp::Header as RtpHeader;
