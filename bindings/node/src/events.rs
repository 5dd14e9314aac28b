//! What happens, as it waits for JavaScript.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use napi::Status;
use napi::bindgen_prelude::Buffer;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use tokio::sync::mpsc;
use twocan::{DataChannelEvent, Message, PeerConnectionEvent};

use crate::dictionaries::{CandidatePairState, ChannelInfo, from_candidate};

/// Events that wait for JavaScript, of one connection; while there are more, channels and tracks
/// are not read.
pub(crate) const EVENTS_MAX: usize = 256;

/// Tells JavaScript that something waits. It does not keep the process alive.
pub(crate) type Waker = ThreadsafeFunction<(), (), (), Status, false, true>;

/// Something that happened.
#[napi(object)]
#[derive(Default)]
pub struct NativeEvent {
    /// What.
    pub kind: String,
    /// The new state, the name of an error, or the text of a message or a candidate.
    pub text: Option<String>,
    /// The channel or the transceiver that it is about.
    pub handle: Option<u32>,
    /// The bytes of a message or a frame.
    pub data: Option<Buffer>,
    /// `sdpMid` of a candidate.
    pub sdp_mid: Option<String>,
    /// `sdpMLineIndex` of a candidate.
    pub sdp_m_line_index: Option<u16>,
    /// `usernameFragment` of a candidate.
    pub username_fragment: Option<String>,
    /// `url` of a candidate, or of the server that did not help.
    pub url: Option<String>,
    /// `relayProtocol` of a candidate.
    pub relay_protocol: Option<String>,
    /// `address` of `icecandidateerror`.
    pub address: Option<String>,
    /// `port` of `icecandidateerror`.
    pub port: Option<u16>,
    /// `errorCode` of `icecandidateerror`.
    pub code: Option<u16>,
    /// The pair of `selectedcandidatepair`; none where data has no way any more.
    pub pair: Option<CandidatePairState>,
    /// A channel that the other side made.
    pub channel: Option<ChannelInfo>,
    /// The codec of a frame.
    pub codec: Option<String>,
    /// The RTP timestamp of a frame.
    pub timestamp: Option<u32>,
    /// The sequence number of the last packet of a frame.
    pub sequence_number: Option<u16>,
    /// Whether a frame is a key frame.
    pub key_frame: Option<bool>,
    /// Ticks a second of the timestamp of a frame.
    pub clock_rate: Option<u32>,
    /// The source of a frame.
    pub ssrc: Option<u32>,
    /// The sources of which a mixer made a frame, where there are any.
    pub contributing: Option<Vec<u32>>,
    /// How loud each of them is in -dBov, where stated.
    pub contributing_levels: Option<Vec<u8>>,
    /// The loudness of a frame in -dBov, where stated.
    pub audio_level: Option<u8>,
    /// When a frame was captured, in milliseconds since 1970 on its sender's clock.
    pub captured_at: Option<f64>,
    /// How long ago a frame arrived, in milliseconds.
    pub waited: Option<f64>,
}

/// Where the tasks of one connection put what happens.
#[derive(Clone)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<NativeEvent>,
    told: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

/// Where JavaScript takes it from.
pub(crate) struct Inbox {
    queue: mpsc::Receiver<NativeEvent>,
    told: Arc<AtomicBool>,
}

/// A queue of at most [`EVENTS_MAX`] events.
pub(crate) fn queue(waker: Waker) -> (Outbox, Inbox) {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    let told = Arc::new(AtomicBool::new(false));
    let outbox = Outbox {
        queue: sender,
        told: Arc::clone(&told),
        waker: Arc::new(waker),
    };
    let inbox = Inbox {
        queue: receiver,
        told,
    };
    (outbox, inbox)
}

impl Outbox {
    /// Puts an event in, when there is room; answers whether anybody is left to take it.
    pub(crate) async fn put(&self, event: NativeEvent) -> bool {
        if self.queue.send(event).await.is_err() {
            return false;
        }
        if !self.told.swap(true, Ordering::AcqRel) {
            let mode = ThreadsafeFunctionCallMode::NonBlocking;
            return self.waker.call((), mode) == Status::Ok;
        }
        true
    }
}

impl Inbox {
    /// What waits, in its order.
    pub(crate) fn take(&mut self) -> Vec<NativeEvent> {
        let mut taken = Vec::new();
        loop {
            while taken.len() < EVENTS_MAX
                && let Ok(event) = self.queue.try_recv()
            {
                taken.push(event);
            }
            if !taken.is_empty() {
                return taken;
            }
            // Said before the last look: what comes after it wakes JavaScript again.
            if !self.told.swap(false, Ordering::AcqRel) {
                return taken;
            }
        }
    }
}

fn named(kind: &str, text: &str) -> NativeEvent {
    NativeEvent {
        kind: kind.to_owned(),
        text: Some(text.to_owned()),
        ..NativeEvent::default()
    }
}

/// An event of a connection; `None` for those that JavaScript sees by itself, because a call of its
/// own brought them about.
pub(crate) fn of_connection(event: PeerConnectionEvent) -> Option<NativeEvent> {
    use PeerConnectionEvent as E;
    Some(match event {
        E::IceConnectionStateChange(state) => named("iceconnectionstate", state.as_str()),
        E::IceGatheringStateChange(state) => named("icegatheringstate", state.as_str()),
        E::SelectedCandidatePairChange(pair) => NativeEvent {
            kind: "selectedcandidatepair".to_owned(),
            pair: pair.map(|pair| CandidatePairState {
                local: from_candidate(pair.local),
                remote: from_candidate(pair.remote),
            }),
            ..NativeEvent::default()
        },
        E::ConnectionStateChange(state) => named("connectionstate", state.as_str()),
        E::SctpTransportStateChange(state) => named("sctpstate", state.as_str()),
        E::Failed(failure) => named("failed", &failure.to_string()),
        E::IceCandidate(candidate) => NativeEvent {
            sdp_mid: candidate.sdp_mid,
            sdp_m_line_index: candidate.sdp_m_line_index,
            username_fragment: candidate.username_fragment,
            url: candidate.url,
            relay_protocol: candidate.relay_protocol.map(|own| own.as_str().to_owned()),
            ..named("icecandidate", &candidate.candidate)
        },
        E::IceCandidateError(error) => NativeEvent {
            address: error.address.map(|ip| ip.to_string()),
            port: error.port,
            url: Some(error.url),
            code: Some(error.error_code),
            ..named("icecandidateerror", &error.error_text)
        },
        _ => return None,
    })
}

/// An event of the channel `handle`.
pub(crate) fn of_channel(handle: u32, event: DataChannelEvent) -> NativeEvent {
    let mut own = NativeEvent {
        handle: Some(handle),
        ..NativeEvent::default()
    };
    own.kind = match event {
        DataChannelEvent::Open => "open",
        DataChannelEvent::BufferedAmountLow => "bufferedamountlow",
        DataChannelEvent::Closing => "closing",
        DataChannelEvent::Closed => "close",
        DataChannelEvent::Message(Message::Text(text)) => {
            own.text = Some(text);
            "message"
        }
        DataChannelEvent::Message(Message::Binary(bytes)) => {
            own.data = Some(bytes.into());
            "message"
        }
    }
    .to_owned();
    own
}
