//! `RTCRtpSender` and `RTCRtpReceiver` of ORTC: each for one way, by parameters that the
//! application sets.

use std::sync::Arc;

use twocan_io::clock;
use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::peer::ortc::{RtpCapabilities, RtpParameters};

use super::DtlsTransport;
use crate::error::Error;
use crate::peer_connection::Owner;

/// `RTCRtpSender`. Cheap to clone.
///
/// ```
/// use twocan::ortc::{DtlsTransport, RtpEncodingParameters, RtpParameters, RtpSender};
/// use twocan::{EncodedFrame, Error, Kind};
///
/// fn send(dtls: &DtlsTransport) -> Result<(RtpSender, RtpParameters), Error> {
///     let sender = RtpSender::new(Kind::Video, dtls)?;
///     let mut parameters = RtpSender::capabilities(Kind::Video).parameters(&["VP8"]);
///     parameters.mid = Some("camera".to_owned());
///     parameters.encodings = vec![RtpEncodingParameters { ssrc: Some(7), ..Default::default() }];
///     sender.send(&parameters)?;
///     // As they are now, with what was chosen: for the other side's receiver.
///     let parameters = sender.parameters().unwrap_or_default();
///     Ok((sender, parameters))
/// }
/// ```
///
/// Frames and packets go into its [track](Self::track).
#[derive(Debug, Clone)]
pub struct RtpSender {
    owner: Arc<Owner>,
    id: TransceiverId,
    track: crate::RtpSender,
}

impl RtpSender {
    /// A sender that sends nothing yet.
    ///
    /// # Errors
    /// `InvalidStateError` when closed.
    pub fn new(kind: Kind, transport: &DtlsTransport) -> Result<Self, Error> {
        let owner = Arc::clone(&transport.owner);
        let id = owner.act(|state| state.peer.add_rtp_sender(kind))?;
        let track = crate::RtpSender::new(Arc::clone(&owner), id);
        Ok(Self { owner, id, track })
    }

    /// `getCapabilities`.
    pub fn capabilities(kind: Kind) -> RtpCapabilities {
        RtpCapabilities::of(kind)
    }

    /// `send`: what goes into the track is sent by these parameters, once DTLS is up. They may be set
    /// again; streams that remain go on.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped; `InvalidAccessError` for parameters that contradict
    /// themselves or those of another sender; `TypeError` for RIDs, `RangeError` and `OperationError`
    /// for bounds of encodings, as [`set_parameters`](crate::RtpSender::set_parameters).
    pub fn send(&self, parameters: &RtpParameters) -> Result<(), Error> {
        let (now, id) = (clock::now(), self.id);
        Ok(self
            .owner
            .act(|state| state.peer.send_rtp(now, id, parameters))?)
    }

    /// What is sent, with the sources and the canonical name that were chosen where
    /// [`Self::send`] left them open: what the other side's receiver is to be given. `None` before.
    pub fn parameters(&self) -> Option<RtpParameters> {
        let state = self.owner.shared.lock();
        state.peer.rtp_parameters(self.id).cloned()
    }

    /// `track`: where frames or packets go in, wishes for key frames and the rate to encode at come
    /// out, and the bounds of encodings can be changed.
    pub fn track(&self) -> &crate::RtpSender {
        &self.track
    }

    /// `stop`: for good. The other side is told by a BYE.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, or stopped already.
    pub fn stop(&self) -> Result<(), Error> {
        let (now, id) = (clock::now(), self.id);
        Ok(self.owner.act(|state| state.peer.stop_rtp(now, id))?)
    }
}

/// `RTCRtpReceiver`. Cheap to clone. Frames and packets come out of its [track](Self::track).
#[derive(Debug, Clone)]
pub struct RtpReceiver {
    owner: Arc<Owner>,
    id: TransceiverId,
    track: crate::RtpReceiver,
}

impl RtpReceiver {
    /// A receiver that receives nothing yet.
    ///
    /// # Errors
    /// `InvalidStateError` when closed.
    pub fn new(kind: Kind, transport: &DtlsTransport) -> Result<Self, Error> {
        let owner = Arc::clone(&transport.owner);
        let id = owner.act(|state| state.peer.add_rtp_receiver(kind))?;
        let track = crate::RtpReceiver::new(Arc::clone(&owner), id);
        Ok(Self { owner, id, track })
    }

    /// `getCapabilities`.
    pub fn capabilities(kind: Kind) -> RtpCapabilities {
        RtpCapabilities::of(kind)
    }

    /// `receive`: what the other side sends by these parameters comes out of the track. Packets are
    /// told apart by their MID where there is one, else by the source, else by a payload type that
    /// only one receiver has. They may be set again; streams that remain go on.
    ///
    /// # Errors
    /// `InvalidStateError` when closed or stopped; `InvalidAccessError` for parameters that contradict
    /// themselves or those of another receiver.
    pub fn receive(&self, parameters: &RtpParameters) -> Result<(), Error> {
        let (now, id) = (clock::now(), self.id);
        Ok(self
            .owner
            .act(|state| state.peer.receive_rtp(now, id, parameters))?)
    }

    /// `track`: frames or packets of the other side.
    pub fn track(&self) -> &crate::RtpReceiver {
        &self.track
    }

    /// `stop`: for good; the track ends.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, or stopped already.
    pub fn stop(&self) -> Result<(), Error> {
        let (now, id) = (clock::now(), self.id);
        self.owner.act(|state| {
            state.peer.stop_rtp(now, id)?;
            state.tracks.entry(id).or_default().ended = true;
            Ok(())
        })
    }
}
