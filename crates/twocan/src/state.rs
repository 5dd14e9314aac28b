//! What the task and the handles of one connection share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::Notify;
use twocan_proto::channel::{self, ChannelId, CloseCause, Info, ReadyState};
use twocan_proto::negotiate::{NegotiationEvent, TransceiverId};
use twocan_proto::peer::{Event, Peer};
use twocan_proto::rtp;
use twocan_proto::wire::ids::Rid;
use twocan_proto::wire::rtp::VideoLayersAllocation;

use crate::data_channel::{DataChannelEvent, Message};
use crate::peer_connection::PeerConnectionEvent as E;
use crate::receiver::Frame;
use crate::transform::FrameTransform;

/// Bytes of received messages that wait for the application, over all channels. While more wait,
/// nothing is taken from the association, whose window closes: the other side is slowed.
const MESSAGES_LEN_MAX: usize = 1 << 20;

/// Frames of one track that wait for the application; then the oldest are dropped and counted. At
/// 50 frames a second this is five seconds, which nobody wants to hear later.
const FRAMES_MAX: usize = 256;

/// Packets of one track that wait for the application; then the oldest are dropped and counted. A
/// second of video at 10 Mbit/s.
const PACKETS_MAX: usize = 1024;

/// Events of the connection that wait for the application; then the oldest are dropped and counted.
const EVENTS_MAX: usize = 1024;

/// Tones that began and of which nobody has taken notice; then the oldest are forgotten.
const TONE_CHANGES_MAX: usize = 256;

/// An event before it becomes a handle.
#[derive(Debug)]
pub(crate) enum Pending {
    Event(E),
    Channel(ChannelId),
    Track {
        transceiver: TransceiverId,
        streams: Vec<String>,
        track: Option<String>,
    },
}

impl Pending {
    /// Whether somebody may ask for it where there is no connection object, but its parts; states
    /// are looked at.
    fn is_waited_for_by_hand(&self) -> bool {
        matches!(
            self,
            Self::Channel(_)
                | Self::Event(E::IceCandidate(_) | E::IceCandidateError(_) | E::Failed(_))
        )
    }
}

#[derive(Debug, Default)]
pub(crate) struct ChannelEntry {
    pub(crate) events: VecDeque<DataChannelEvent>,
    /// As it was when it was last open: a closed channel still has a label.
    pub(crate) info: Option<Info>,
    pub(crate) closed: bool,
    /// Why; `None` where our own connection was closed.
    pub(crate) cause: Option<CloseCause>,
    /// A stream of bytes reads the events, and no other handle.
    pub(crate) detached: bool,
    /// The stream is gone: what arrives is forgotten.
    pub(crate) forgets: bool,
    /// Who waits for an event of a detached channel.
    pub(crate) reader: Option<Waker>,
    /// Who waits for its end.
    pub(crate) closer: Option<Waker>,
}

impl ChannelEntry {
    /// Something was added to the events.
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        if self.closed
            && let Some(closer) = self.closer.take()
        {
            closer.wake();
        }
    }
}

/// Who waits for room on a detached channel.
#[derive(Debug)]
pub(crate) struct WaitingWriter {
    id: ChannelId,
    /// Until no more bytes than this wait to be sent on it.
    low: usize,
    waker: Waker,
}

impl WaitingWriter {
    pub(crate) fn new(id: ChannelId, low: usize, waker: &Waker) -> Self {
        let waker = waker.clone();
        Self { id, low, waker }
    }
}

#[derive(Debug, Default)]
pub(crate) struct TrackEntry {
    pub(crate) frames: VecDeque<rtp::Frame>,
    pub(crate) packets: VecDeque<rtp::IncomingPacket>,
    /// Frames or packets that nobody took in time.
    pub(crate) dropped: u64,
    pub(crate) ended: bool,
    /// What frames go through once they arrived.
    pub(crate) transform: Option<Box<dyn FrameTransform>>,
    /// Frames that it refused since the last that it took.
    pub(crate) refused: u32,
    /// Streams of which a frame was not handed out since the last key frame; a simulcast has few.
    pub(crate) torn: BTreeSet<Option<String>>,
    /// What the other side last said about its layers.
    pub(crate) layers_allocation: Option<VideoLayersAllocation>,
}

impl TrackEntry {
    /// A frame is handed out; answers whether all that it refers to was.
    pub(crate) fn note_taken(&mut self, frame: &Frame) -> bool {
        if frame.key_frame {
            self.torn.remove(&frame.rid);
        }
        !self.torn.contains(&frame.rid)
    }
}

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) peer: Peer,
    pub(crate) events: VecDeque<Pending>,
    events_dropped: u64,
    pub(crate) channels: BTreeMap<ChannelId, ChannelEntry>,
    messages_len: usize,
    /// One for each detached channel at most; mostly none.
    writers: Vec<WaitingWriter>,
    pub(crate) tracks: BTreeMap<TransceiverId, TrackEntry>,
    /// What frames go through before they are sent.
    pub(crate) transforms: BTreeMap<TransceiverId, Box<dyn FrameTransform>>,
    /// Of what the other side wants a key frame: transceivers, and which of their encodings.
    pub(crate) key_frames_wanted: Vec<(TransceiverId, Option<Rid>)>,
    /// The tones that senders began to play; `None` where all are played.
    pub(crate) tone_changes: VecDeque<(TransceiverId, Option<char>)>,
    pub(crate) datagrams_not_sent: u64,
    /// The task has ended.
    pub(crate) finished: bool,
}

/// Shared by the task and all handles.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Wakes the task: the application did something.
    pub(crate) wake: Notify,
    /// Wakes the application: something happened.
    changed: Notify,
}

impl Shared {
    pub(crate) fn new(peer: Peer) -> Arc<Self> {
        let state = State {
            peer,
            events: VecDeque::new(),
            events_dropped: 0,
            channels: BTreeMap::new(),
            messages_len: 0,
            writers: Vec::new(),
            tracks: BTreeMap::new(),
            transforms: BTreeMap::new(),
            key_frames_wanted: Vec::new(),
            tone_changes: VecDeque::new(),
            datagrams_not_sent: 0,
            finished: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            changed: Notify::new(),
        })
    }

    /// The state. A panic of another thread inside a lock leaves a state that is still whole: the
    /// machine works on copies where it could fail half-way.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the application that something happened.
    pub(crate) fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until `take` yields something; it is asked after everything that happens.
    pub(crate) async fn until<R>(&self, mut take: impl FnMut(&mut State) -> Option<R>) -> R {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that nothing is missed between look and wait.
            changed.as_mut().enable();
            if let Some(taken) = take(&mut self.lock()) {
                return taken;
            }
            changed.await;
        }
    }

    /// The task has ended: everything that waits gets an end.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.finished = true;
        for entry in state.channels.values_mut().filter(|entry| !entry.closed) {
            entry.closed = true;
            entry.events.push_back(DataChannelEvent::Closed);
            entry.wake();
        }
        state.wake_writers();
        for entry in state.tracks.values_mut() {
            entry.ended = true;
        }
        drop(state);
        self.notify();
    }
}

impl State {
    /// Keeps what the machine reports until the application asks.
    pub(crate) fn take_event(&mut self, event: Event, shared: &Shared) {
        match event {
            Event::Negotiation(NegotiationEvent::TrackAdded {
                transceiver,
                streams,
                track,
                ..
            }) => {
                self.tracks.entry(transceiver).or_default().ended = false;
                self.push(Pending::Track {
                    transceiver,
                    streams,
                    track,
                });
            }
            Event::Negotiation(
                NegotiationEvent::TrackRemoved { transceiver }
                | NegotiationEvent::TransceiverStopped { transceiver },
            ) => {
                if let Some(entry) = self.tracks.get_mut(&transceiver) {
                    entry.ended = true;
                }
            }
            Event::Rtp(event) => self.take_rtp_event(event),
            Event::NegotiationNeeded => self.push(Pending::Event(E::NegotiationNeeded)),
            Event::SignalingState(state) => {
                self.push(Pending::Event(E::SignalingStateChange(state)));
            }
            Event::IceConnectionState(state) => {
                self.push(Pending::Event(E::IceConnectionStateChange(state)));
            }
            Event::SelectedCandidatePair => {
                let pair = self.peer.selected_candidate_pair().map(Into::into);
                self.push(Pending::Event(E::SelectedCandidatePairChange(pair)));
            }
            Event::IceGatheringState(state) => {
                self.push(Pending::Event(E::IceGatheringStateChange(state)));
            }
            Event::IceCandidate(candidate) => {
                self.push(Pending::Event(E::IceCandidate(candidate.into())));
            }
            Event::IceCandidateError(error) => {
                self.push(Pending::Event(E::IceCandidateError(error)));
            }
            Event::ConnectionState(state) => {
                self.push(Pending::Event(E::ConnectionStateChange(state)));
            }
            Event::Failed(failure) => self.push(Pending::Event(E::Failed(failure))),
            Event::ToneChange { transceiver, tone } => {
                if self.tone_changes.len() >= TONE_CHANGES_MAX {
                    self.tone_changes.pop_front();
                }
                self.tone_changes.push_back((transceiver, tone));
            }
            // Senders look for themselves, when they are notified.
            Event::TargetRate(_) => {}
        }
        shared.notify();
    }

    /// Takes what arrived on channels, as much as there is room for; answers whether there was
    /// anything.
    pub(crate) fn take_channel_events(&mut self, shared: &Shared) -> bool {
        let mut any = false;
        while self.messages_len < MESSAGES_LEN_MAX
            && let Some(event) = self.peer.poll_channel_event()
        {
            any = true;
            self.take_channel_event(event);
        }
        if any {
            shared.notify();
        }
        any
    }

    /// Takes the next event of a channel; room for more is made.
    pub(crate) fn next_channel_event(&mut self, id: ChannelId) -> Option<DataChannelEvent> {
        let entry = self.channels.get_mut(&id)?;
        let event = entry.events.pop_front()?;
        if let DataChannelEvent::Message(message) = &event {
            self.messages_len = self.messages_len.saturating_sub(message.cost());
        }
        Some(event)
    }

    /// Keeps a writer until there is room; the one before it of the same channel has no turn any more.
    pub(crate) fn wait_to_write(&mut self, writer: WaitingWriter) {
        self.writers.retain(|own| own.id != writer.id);
        self.writers.push(writer);
    }

    /// Wakes the writers that have room now, or that never will.
    pub(crate) fn wake_writers(&mut self) {
        let Self { peer, writers, .. } = self;
        let finished = self.finished;
        let waits = |own: &WaitingWriter| match peer.channel_state(own.id) {
            Some(ReadyState::Connecting) => true,
            Some(ReadyState::Open) => peer.buffered_amount(own.id) > own.low,
            Some(ReadyState::Closing) | None => false,
        };
        for ready in writers.extract_if(.., |own| finished || !waits(own)) {
            ready.waker.wake();
        }
    }

    /// Nobody reads a channel any more: what arrived makes room, what arrives is forgotten.
    pub(crate) fn forget_messages(&mut self, id: ChannelId) {
        while self.next_channel_event(id).is_some() {}
        if let Some(entry) = self.channels.get_mut(&id) {
            entry.forgets = true;
        }
        self.writers.retain(|own| own.id != id);
    }

    /// Whether messages wait in the machine for room here.
    pub(crate) fn is_full(&self) -> bool {
        self.messages_len >= MESSAGES_LEN_MAX
    }

    fn take_channel_event(&mut self, event: channel::Event) {
        let (id, event) = match event {
            channel::Event::Announced(id) => {
                let info = self.peer.channel_info(id).cloned();
                let entry = ChannelEntry {
                    info,
                    ..ChannelEntry::default()
                };
                self.channels.insert(id, entry);
                self.push(Pending::Channel(id));
                return;
            }
            channel::Event::Open(id) => {
                let info = self.peer.channel_info(id).cloned();
                if let Some(entry) = self.channels.get_mut(&id) {
                    entry.info = info;
                }
                (id, DataChannelEvent::Open)
            }
            channel::Event::Message(id, message) => {
                let message = Message::from(message);
                self.messages_len += message.cost();
                (id, DataChannelEvent::Message(message))
            }
            channel::Event::BufferedAmountLow(id) => (id, DataChannelEvent::BufferedAmountLow),
            channel::Event::Closing(id) => (id, DataChannelEvent::Closing),
            channel::Event::Closed(id, cause) => {
                if let Some(entry) = self.channels.get_mut(&id) {
                    entry.cause = Some(cause);
                }
                (id, DataChannelEvent::Closed)
            }
            channel::Event::Connected | channel::Event::Ended(_) => {
                if let Some(sctp) = self.peer.sctp_transport() {
                    self.push(Pending::Event(E::SctpTransportStateChange(sctp.state)));
                }
                return;
            }
        };
        let cost = match &event {
            DataChannelEvent::Message(message) => message.cost(),
            _ => 0,
        };
        let Some(entry) = self.channels.get_mut(&id).filter(|entry| !entry.closed) else {
            // All its handles are gone.
            self.messages_len = self.messages_len.saturating_sub(cost);
            return;
        };
        entry.closed = event == DataChannelEvent::Closed;
        if entry.forgets {
            self.messages_len = self.messages_len.saturating_sub(cost);
            return;
        }
        entry.events.push_back(event);
        entry.wake();
    }

    fn take_rtp_event(&mut self, event: rtp::Event) {
        match event {
            rtp::Event::Frame(frame) => {
                let Some(transceiver) = self.peer.transceiver_of(&frame.mid) else {
                    return;
                };
                let entry = self.tracks.entry(transceiver).or_default();
                if entry.frames.len() >= FRAMES_MAX {
                    let dropped = entry.frames.pop_front();
                    let rid = dropped.map(|own| own.rid.map(|rid| rid.to_string()));
                    entry.torn.extend(rid);
                    entry.dropped += 1;
                }
                entry.frames.push_back(frame);
            }
            rtp::Event::Packet(packet) => {
                let Some(transceiver) = self.peer.transceiver_of(&packet.mid) else {
                    return;
                };
                let entry = self.tracks.entry(transceiver).or_default();
                if entry.packets.len() >= PACKETS_MAX {
                    entry.packets.pop_front();
                    entry.dropped += 1;
                }
                entry.packets.push_back(packet);
            }
            rtp::Event::KeyFrameRequested { mid, rid } => {
                if let Some(transceiver) = self.peer.transceiver_of(&mid) {
                    let wanted = (transceiver, rid);
                    if !self.key_frames_wanted.contains(&wanted) {
                        self.key_frames_wanted.push(wanted);
                    }
                }
            }
            rtp::Event::LayersAllocated { mid, allocation } => {
                if let Some(transceiver) = self.peer.transceiver_of(&mid) {
                    let entry = self.tracks.entry(transceiver).or_default();
                    entry.layers_allocation = Some(allocation);
                }
            }
            rtp::Event::SourceAdded { .. } | rtp::Event::SourceEnded { .. } => {}
        }
    }

    fn push(&mut self, pending: Pending) {
        if self.peer.is_by_hand() && !pending.is_waited_for_by_hand() {
            return;
        }
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
            self.events_dropped += 1;
        }
        self.events.push_back(pending);
    }
}
