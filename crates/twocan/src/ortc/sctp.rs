//! `RTCSctpTransport`.

use std::sync::Arc;

use twocan_io::clock;
use twocan_proto::negotiate::SctpPlan;
use twocan_proto::peer::SctpTransportState;

use super::DtlsTransport;
use crate::data_channel::{DataChannel, DataChannelInit};
use crate::error::Error;
use crate::peer_connection::Owner;
use crate::state::Pending;

/// The port that both sides have unless they say otherwise, as in descriptions.
const PORT: u16 = 5000;

/// `RTCSctpCapabilities`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SctpCapabilities {
    /// `maxMessageSize`: the longest message that this side takes, in bytes; 0 for no limit. A side
    /// that says nothing takes 65,536 (RFC 8841 §6.1).
    pub max_message_size: u64,
}

/// `RTCSctpTransport`: the association of the data channels. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SctpTransport {
    owner: Arc<Owner>,
    port: u16,
}

impl SctpTransport {
    /// The association on a DTLS transport, with port 5000. Each has one: two of these are the same.
    pub fn new(dtls: &DtlsTransport) -> Self {
        Self::with_port(dtls, PORT)
    }

    /// The same with another port of ours.
    pub fn with_port(dtls: &DtlsTransport, port: u16) -> Self {
        let owner = Arc::clone(&dtls.owner);
        Self { owner, port }
    }

    /// `port`: ours.
    pub fn local_port(&self) -> u16 {
        self.port
    }

    /// `getCapabilities`: ours, by [`Configuration::max_message_size`](crate::Configuration::max_message_size).
    pub fn capabilities(&self) -> SctpCapabilities {
        let state = self.owner.shared.lock();
        SctpCapabilities {
            max_message_size: state.peer.local_max_message_size(),
        }
    }

    /// `start`: the association begins as soon as DTLS is up. Both sides start it.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, or started before; `InvalidAccessError` for a port 0.
    pub fn start(&self, remote: SctpCapabilities, remote_port: u16) -> Result<(), Error> {
        let plan = SctpPlan {
            local_port: self.port,
            remote_port,
            max_message_size: match remote.max_message_size {
                0 => u64::MAX,
                size => size,
            },
        };
        let now = clock::now();
        Ok(self.owner.act(|state| state.peer.start_sctp(now, plan))?)
    }

    /// `RTCDataChannel`: a channel, told to the other side in band or, with `negotiated` and an `id`,
    /// made by both. It may be made before the start.
    ///
    /// # Errors
    /// `TypeError`, `OperationError` or `InvalidStateError` as the W3C has them, with our reason.
    pub fn create_data_channel(
        &self,
        label: &str,
        init: DataChannelInit,
    ) -> Result<DataChannel, Error> {
        DataChannel::create(&self.owner, label, init)
    }

    /// `ondatachannel`: the next channel that the other side made, which is open; `None` when the
    /// connection ends.
    pub async fn next_data_channel(&self) -> Option<DataChannel> {
        let shared = &self.owner.shared;
        let id = shared.until(|state| {
            let is_one = |own: &Pending| matches!(own, Pending::Channel(_));
            match super::ice::take(state, is_one) {
                Some(Pending::Channel(id)) => Some(Some(id)),
                _ => state.finished.then_some(None),
            }
        });
        let id = id.await?;
        Some(DataChannel::new(Arc::clone(&self.owner), id))
    }

    /// `state`; `None` before the start.
    pub fn state(&self) -> Option<SctpTransportState> {
        let state = self.owner.shared.lock();
        state.peer.sctp_transport().map(|own| own.state)
    }

    /// `maxChannels`, once connected.
    pub fn max_channels(&self) -> Option<u16> {
        let state = self.owner.shared.lock();
        state.peer.sctp_transport()?.max_channels
    }
}
