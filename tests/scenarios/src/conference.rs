//! Several peers and a server that forwards between them.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use serde_json::json;
use serde_json::value::RawValue;
use twocan_proto::channel::{self, ChannelId, ChannelInit, Reliability};
use twocan_proto::contract::{Batch, Datagram, Output, SocketId, StreamEvent};
use twocan_proto::negotiate::{Kind, SdpType, SignalingState, TransceiverId};
use twocan_proto::peer::{
    self, ConnectionState, Description, EncodingParameters, Interfaces, Peer, TransceiverInit,
};
use twocan_proto::random::Random;
use twocan_proto::rtp::{self, Frame, OutgoingFrame, PictureProperties};
use twocan_proto::time::Now;
use twocan_room::MediaPermissions;
use twocan_room::forward::{self, Forwarder};
use twocan_sim::{HostId, LinkConfig, NatConfig, Node, SiteId, World, certificate, settings};
use twocan_wire::room_data::{LABEL, LOSSY, RELIABLE};
use twocan_wire::sdp::Direction;
use twocan_wire::units::Bitrate;

/// Between two pictures.
pub const PICTURE: Duration = Duration::from_micros(33_333);
/// Between two packets of sound.
const SOUND: Duration = Duration::from_millis(20);
/// Bytes of a sound, which no picture has.
const SOUND_LEN: usize = 60;
/// How long signaling takes.
const SIGNALING: Duration = Duration::from_millis(20);
/// What was under way when a permission came back, in pictures or sounds: half a second.
const UNDER_WAY: [u32; 2] = [25, 15];
/// The qualities of a picture, with what each is encoded at most.
pub const QUALITIES: [(&str, u64); 3] = [("q", 150_000), ("h", 500_000), ("f", 1_700_000)];

mod by_channel;
mod desk;
mod layered;
mod marks;
mod oracle;

pub use by_channel::ByChannel;
pub use desk::{Coming, Seat};
pub use layered::{Layered, layer_marks};
pub use marks::marks;

use desk::Desk;
use marks::{captured_before, origin, picture};
use oracle::Oracle;

/// Who takes part.
enum Member {
    /// With how far its clock is ahead of the server's.
    Peer(Box<Peer>, Duration),
    Server(Box<Forwarder>),
}

impl Member {
    /// The time by its own clock.
    fn time(&self, now: Now) -> Now {
        let ahead = match self {
            Self::Peer(_, ahead) => *ahead,
            Self::Server(_) => Duration::ZERO,
        };
        Now {
            wallclock: now.wallclock + ahead,
            ..now
        }
    }
}

/// What a member reports.
enum Report {
    Peer(peer::Event),
    Server(forward::Event),
}

impl Node for Member {
    type Event = Report;

    fn handle_bound(&mut self, now: Now, socket: SocketId, local: SocketAddr) {
        let now = self.time(now);
        match self {
            Self::Peer(peer, _) => peer.handle_bound(now, socket, local),
            Self::Server(server) => server.handle_bound(now, socket, local),
        }
    }

    fn handle_datagram(&mut self, now: Now, datagram: Datagram<'_>) {
        let now = self.time(now);
        match self {
            Self::Peer(peer, _) => peer.handle_datagram(now, datagram),
            Self::Server(server) => server.handle_datagram(now, datagram),
        }
    }

    fn handle_stream(&mut self, now: Now, socket: SocketId, event: StreamEvent<'_>) {
        let now = self.time(now);
        if let Self::Peer(peer, _) = self {
            peer.handle_stream(now, socket, event);
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        let now = self.time(now);
        match self {
            Self::Peer(peer, _) => peer.handle_timeout(now),
            Self::Server(server) => server.handle_timeout(now),
        }
    }

    fn handle_resolved(&mut self, now: Now, name: &str, addresses: &[IpAddr]) {
        let now = self.time(now);
        if let Self::Peer(peer, _) = self {
            peer.handle_resolved(now, name, addresses);
        }
    }

    fn poll_output(&mut self, now: Now, batch: &mut Batch) -> Output<Report> {
        let now = self.time(now);
        match self {
            Self::Peer(peer, _) => turn(peer.poll_output(now, batch), Report::Peer),
            Self::Server(server) => turn(server.poll_output(now, batch), Report::Server),
        }
    }
}

fn turn<E>(output: Output<E>, report: impl FnOnce(E) -> Report) -> Output<Report> {
    match output {
        Output::Event(event) => Output::Event(report(event)),
        Output::Transmit => Output::Transmit,
        Output::Request(request) => Output::Request(request),
        Output::Wait(deadline) => Output::Wait(deadline),
    }
}

/// What somebody sends and gets.
#[derive(Debug)]
pub struct Attendee {
    /// Its name in the room.
    pub name: String,
    host: HostId,
    /// Its site.
    pub site: SiteId,
    sound: Option<TransceiverId>,
    picture: Option<TransceiverId>,
    /// Which qualities begin with a key frame next.
    key_wanted: [bool; 3],
    /// Frames, by the section on which they came.
    pub frames: BTreeMap<String, Vec<(Duration, Frame)>>,
    /// What the server said to be on a section: whose track.
    pub forwards: BTreeMap<String, Option<String>>,
    /// Who spoke, as the server said last.
    pub speakers: Vec<String>,
    /// How well others are connected, and the share of packets lost, as the server said last.
    pub qualities: BTreeMap<String, (f64, f64)>,
    /// Which qualities it sends: the server says which have a use.
    pub layers: [bool; 3],
    /// What the server refused.
    pub errors: Vec<String>,
    /// How loud it is, in -dBov; silent at 127.
    pub level: u8,
    /// How long ago what it sends was captured.
    pub encoding_takes: Duration,
    /// Requests for key frames that came.
    pub key_requests: u32,
    pictures: u32,
    sounds: u32,
    is_gone: bool,
    /// What it may not send, by its numbers: sound and pictures.
    forbidden: [Vec<Range<u32>>; 2],
    /// Since it may get nothing: the numbers of all who send, from which on nothing may come.
    blind: Option<Vec<[u32; 2]>>,
    /// Descriptions to it are lost.
    pub is_deaf: bool,
    /// The layers that its pictures have, in the place of several streams.
    layers_within: Option<Layered>,
    /// Its data channels: the reliable one, and the other.
    pub channels: Option<[ChannelId; 2]>,
    /// Its signaling, where that is on a data channel.
    pub by_channel: Option<ByChannel>,
    /// Its signaling, where that is with the hall.
    pub seat: Option<Seat>,
}

/// A room on a server, and those in it.
pub struct Conference {
    world: World<Member>,
    server: HostId,
    /// Everybody who ever came.
    pub attendees: Vec<Attendee>,
    signals: VecDeque<(Duration, Option<usize>, String, String)>,
    next_picture: Duration,
    next_sound: Duration,
    seed: u64,
    /// Who decides who is in the room, where that is not the test.
    desk: Option<Box<Desk>>,
    /// What is held against all that happens, where there is a desk.
    oracle: Option<Box<Oracle>>,
}

impl Conference {
    /// An empty room.
    pub fn new(seed: u64, adjust: impl FnOnce(&mut forward::Config)) -> Self {
        let mut world = World::new(seed);
        let site = world.add_site(None, LinkConfig::default(), LinkConfig::default());
        let mut config = forward::Config::new(certificate(0), settings(seed));
        adjust(&mut config);
        let mut secret = [7; 32];
        secret[..8].copy_from_slice(&seed.to_le_bytes());
        let server = Forwarder::new(config, Random::new(secret));
        let server = world.add_host(site, Member::Server(Box::new(server)));
        let interfaces = Interfaces {
            added: world.ips(server).to_vec(),
            removed: vec![],
        };
        world.with(server, |member, now| {
            if let Member::Server(server) = member {
                server.handle_interfaces(now, &interfaces);
            }
        });
        Self {
            world,
            server,
            attendees: Vec::new(),
            signals: VecDeque::new(),
            next_picture: Duration::ZERO,
            next_sound: Duration::ZERO,
            seed,
            desk: None,
            oracle: None,
        }
    }

    /// Somebody comes, who sends sound and pictures or only looks on.
    pub fn join(&mut self, link: LinkConfig, nat: Option<NatConfig>, sends: bool) -> usize {
        self.join_as(link, nat, sends, None)
    }

    fn join_as(
        &mut self,
        link: LinkConfig,
        nat: Option<NatConfig>,
        sends: bool,
        layers_within: Option<Layered>,
    ) -> usize {
        let index = self.arrive_as((link, nat), sends, layers_within, |_| {});
        self.offer(index);
        index
    }

    /// Somebody is there, who has offered nothing yet.
    fn arrive(&mut self, link: LinkConfig, nat: Option<NatConfig>, sends: bool) -> usize {
        self.arrive_as((link, nat), sends, None, |_| {})
    }

    fn arrive_as(
        &mut self,
        (link, nat): (LinkConfig, Option<NatConfig>),
        sends: bool,
        layers_within: Option<Layered>,
        adjust: impl FnOnce(&mut peer::Config),
    ) -> usize {
        let index = self.attendees.len();
        let site = self.world.add_site(nat, link, link);
        let settings = settings(self.seed.wrapping_mul(64) + 1 + index as u64);
        let mut config = peer::Config::new(certificate(index % 2), settings);
        adjust(&mut config);
        let mut secret = [index as u8; 32];
        secret[8..16].copy_from_slice(&self.seed.to_le_bytes());
        let peer = Peer::new(self.world.now(), config, Random::new(secret));
        let host = self
            .world
            .add_host(site, Member::Peer(Box::new(peer), Duration::ZERO));
        let name = format!("p{index}");
        self.attendees.push(Attendee {
            name: name.clone(),
            host,
            site,
            sound: None,
            picture: None,
            key_wanted: [true; 3],
            frames: BTreeMap::new(),
            forwards: BTreeMap::new(),
            speakers: Vec::new(),
            qualities: BTreeMap::new(),
            layers: [true; 3],
            errors: Vec::new(),
            level: 127,
            encoding_takes: Duration::ZERO,
            key_requests: 0,
            pictures: 0,
            sounds: 0,
            is_gone: false,
            forbidden: [Vec::new(), Vec::new()],
            blind: None,
            is_deaf: false,
            layers_within,
            channels: None,
            by_channel: None,
            seat: None,
        });
        if self.desk.is_none() {
            self.server(|server, now| server.join(now, "room", &name));
        }
        let interfaces = Interfaces {
            added: self.world.ips(host).to_vec(),
            removed: vec![],
        };
        self.peer_mut(index, |peer, now| peer.handle_interfaces(now, &interfaces));
        self.add_lines(index, sends);
        index
    }

    fn add_lines(&mut self, index: usize, sends: bool) {
        let encodings = QUALITIES.map(|(rid, rate)| EncodingParameters {
            rid: Some(rid.to_owned()),
            max_bitrate: Some(Bitrate::bps(rate)),
            ..EncodingParameters::default()
        });
        let layered = self.attendees[index].layers_within;
        let encodings = match layered {
            None => encodings.to_vec(),
            Some(_) => vec![EncodingParameters::default()],
        };
        let (sound, picture) = self.peer_mut(index, |peer, _| {
            let mut own = (None, None);
            if sends {
                let stream = format!("sound-{index}");
                let sound = peer.add_transceiver(Kind::Audio, Direction::SendOnly, &[&stream]);
                let init = TransceiverInit {
                    direction: Direction::SendOnly,
                    streams: vec![format!("picture-{index}")],
                    send_encodings: encodings,
                };
                own = (
                    sound.ok(),
                    peer.add_transceiver_with(Kind::Video, &init).ok(),
                );
                if let (Some(layered), Some(line)) = (layered, own.1) {
                    layered.prefer(peer, line);
                }
            }
            for kind in [Kind::Audio, Kind::Video] {
                let _ = peer.add_transceiver(kind, Direction::RecvOnly, &[]);
            }
            own
        });
        self.attendees[index].sound = sound;
        self.attendees[index].picture = picture;
    }

    /// Somebody opens its data channels.
    pub fn open_data(&mut self, index: usize) {
        self.create_channels(index);
        self.offer(index);
    }

    fn create_channels(&mut self, index: usize) {
        let init = |protocol: &str| ChannelInit {
            label: LABEL.to_owned(),
            protocol: protocol.to_owned(),
            ..ChannelInit::default()
        };
        let lossy = ChannelInit {
            ordered: false,
            reliability: Reliability::MaxRetransmits(0),
            ..init(LOSSY)
        };
        let channels = self.peer_mut(index, |peer, _| {
            let open = |init| peer.create_data_channel(init);
            [init(RELIABLE), lossy].map(open)
        });
        let [Ok(reliable), Ok(lossy)] = channels else {
            unreachable!("{channels:?}")
        };
        self.attendees[index].channels = Some([reliable, lossy]);
    }

    /// Somebody sends bytes over a channel of its own; answers whether it took them.
    pub fn send_data(&mut self, index: usize, channel: ChannelId, bytes: Vec<u8>) -> bool {
        self.peer_mut(index, |peer, now| {
            peer.send_binary(now, channel, bytes).is_ok()
        })
    }

    /// Somebody takes what came over its data channels.
    pub fn take_data(&mut self, index: usize) -> Vec<(ChannelId, Vec<u8>)> {
        let mut taken = Vec::new();
        self.peer_mut(index, |peer, _| {
            while let Some(event) = peer.poll_channel_event() {
                if let channel::Event::Message(id, channel::Message::Binary(bytes)) = event {
                    taken.push((id, bytes));
                }
            }
        });
        taken
    }

    /// Somebody begins a new connection, as a page does whose ICE restarts did not help.
    pub fn renew(&mut self, index: usize) {
        self.peer_mut(index, |peer, now| peer.close(now));
        let site = self.attendees[index].site;
        let settings = settings(self.seed.wrapping_mul(64) + 33 + index as u64);
        let config = peer::Config::new(certificate((index + 1) % 2), settings);
        let mut secret = [index as u8 + 100; 32];
        secret[8..16].copy_from_slice(&self.seed.to_le_bytes());
        let peer = Peer::new(self.world.now(), config, Random::new(secret));
        let host = self
            .world
            .add_host(site, Member::Peer(Box::new(peer), Duration::ZERO));
        let own = &mut self.attendees[index];
        own.host = host;
        own.forwards.clear();
        own.frames.clear();
        own.key_wanted = [true; 3];
        let interfaces = Interfaces {
            added: self.world.ips(host).to_vec(),
            removed: vec![],
        };
        self.peer_mut(index, |peer, now| peer.handle_interfaces(now, &interfaces));
        self.add_lines(index, true);
        self.offer(index);
    }

    /// What of somebody's media may be passed on from now on. That nothing else is passed on is held
    /// against every frame that arrives.
    pub fn permit(&mut self, index: usize, permissions: &MediaPermissions) {
        let name = self.attendees[index].name.clone();
        let numbers: Vec<[u32; 2]> = self
            .attendees
            .iter()
            .map(|own| [own.sounds, own.pictures])
            .collect();
        let own = &mut self.attendees[index];
        let sound = permissions.audio.allows(Some(&format!("sound-{index}")));
        let picture = permissions.video.allows(Some(&format!("picture-{index}")));
        for (kind, allowed) in [sound, picture].into_iter().enumerate() {
            let number = numbers[index][kind];
            let last = own.forbidden[kind].last_mut();
            let is_open = |range: &&mut Range<u32>| range.end == u32::MAX;
            match (last.filter(is_open), allowed) {
                (Some(range), true) => range.end = number.saturating_sub(UNDER_WAY[kind]),
                (None, false) => own.forbidden[kind].push(number..u32::MAX),
                _ => {}
            }
        }
        own.blind = match (permissions.subscribe, own.blind.take()) {
            (true, _) => None,
            (false, blind) => Some(blind.unwrap_or(numbers)),
        };
        self.server(|server, now| server.permit(now, &name, permissions));
    }

    /// A frame came: its owner may send it, and who got it may get it.
    fn assert_permitted(&self, viewer: usize, frame: &Frame) {
        let kind = usize::from(frame.data.len() != SOUND_LEN);
        let Some((from, number)) = origin(frame) else {
            return;
        };
        let own = &self.attendees[from];
        assert!(
            own.forbidden[kind]
                .iter()
                .all(|range| !range.contains(&number)),
            "seed {}: {} got number {number} of {}, which may not send it: {:?}",
            self.seed,
            self.attendees[viewer].name,
            own.name,
            own.forbidden[kind],
        );
        let since = self.attendees[viewer].blind.as_ref();
        let since = since.map(|all| all.get(from).map_or(0, |own| own[kind]));
        assert!(
            since.is_none_or(|since| number < since),
            "seed {}: {} got number {number} of {}, and may get nothing since {since:?}",
            self.seed,
            self.attendees[viewer].name,
            own.name,
        );
    }

    /// Somebody leaves.
    pub fn leave(&mut self, index: usize) {
        let name = self.attendees[index].name.clone();
        self.attendees[index].is_gone = true;
        self.server(|server, now| server.leave(now, &name));
        self.peer_mut(index, |peer, now| peer.close(now));
    }

    /// Somebody says something to the server.
    pub fn say(&mut self, index: usize, event: &str, data: &serde_json::Value) {
        if self.attendees[index].by_channel.is_some() {
            return self.say_by_channel(index, event, data);
        }
        if self.desk.is_some() {
            return self.say_to_hall(index, event, Some("server"), data);
        }
        let at = self.world.elapsed() + SIGNALING;
        self.signals
            .push_back((at, Some(index), event.to_owned(), data.to_string()));
    }

    fn offer(&mut self, index: usize) {
        let offer = self.peer_mut(index, |peer, now| {
            peer.set_local_description(now, None)
                .unwrap_or_else(|error| unreachable!("offer: {error}"));
            peer.local_description()
        });
        if let Some(offer) = offer {
            self.say(index, "offer", &json!({"type": "offer", "sdp": offer.sdp}));
        }
    }

    /// The link of somebody, to and from.
    pub fn limit(&mut self, index: usize, change: impl Fn(&mut LinkConfig)) {
        let site = self.world.site(self.attendees[index].site);
        change(&mut site.uplink.config);
        change(&mut site.downlink.config);
    }

    /// The server, to look at.
    pub fn forwarder(&self) -> &Forwarder {
        match self.world.node(self.server) {
            Member::Server(server) => server,
            Member::Peer(..) => unreachable!("the server is no peer"),
        }
    }

    /// Does something with the server.
    pub fn server<R>(&mut self, act: impl FnOnce(&mut Forwarder, Now) -> R) -> R {
        self.world.with(self.server, |member, now| match member {
            Member::Server(server) => act(server, now),
            Member::Peer(..) => unreachable!("the server is no peer"),
        })
    }

    /// Somebody's connection, to look at.
    pub fn peer(&self, index: usize) -> &Peer {
        match self.world.node(self.attendees[index].host) {
            Member::Peer(peer, _) => peer,
            Member::Server(_) => unreachable!("an attendee is no server"),
        }
    }

    fn peer_mut<R>(&mut self, index: usize, act: impl FnOnce(&mut Peer, Now) -> R) -> R {
        let host = self.attendees[index].host;
        self.world.with(host, |member, now| {
            let now = member.time(now);
            match member {
                Member::Peer(peer, _) => act(peer, now),
                Member::Server(_) => unreachable!("an attendee is no server"),
            }
        })
    }

    /// Somebody sets its clock: so far ahead of the server's.
    pub fn set_clock(&mut self, index: usize, time: Duration) {
        let host = self.attendees[index].host;
        self.world.with(host, |member, _| match member {
            Member::Peer(_, ahead) => *ahead = time,
            Member::Server(_) => unreachable!("an attendee is no server"),
        });
    }

    /// The server's wallclock, since 1970.
    pub fn wallclock(&self) -> Duration {
        self.world.now().wallclock
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.world.elapsed()
    }

    /// A hash of all datagrams so far.
    pub fn trace(&self) -> u64 {
        self.world.trace()
    }

    /// Runs for a while, in which everybody sends what it can.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.world.elapsed() + time;
        self.run_until(time, |_| false);
        debug_assert!(self.world.elapsed() >= end);
    }

    /// Runs until `done`, for `limit` at most; answers whether `done` came.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.world.elapsed() + limit;
        loop {
            self.collect();
            self.deliver();
            self.collect();
            if done(self) {
                return true;
            }
            let now = self.world.elapsed();
            if now >= end {
                return false;
            }
            if now >= self.next_picture {
                self.next_picture = now + PICTURE;
                (0..self.attendees.len()).for_each(|index| self.send_pictures(index));
            }
            if now >= self.next_sound {
                self.next_sound = now + SOUND;
                (0..self.attendees.len()).for_each(|index| self.send_sound(index));
            }
            let signal = self.signals.iter().map(|(at, ..)| *at).min().unwrap_or(end);
            let signal = signal.min(self.hall_wants_at().unwrap_or(end));
            let next = end.min(signal).min(self.next_picture).min(self.next_sound);
            let wait = next.saturating_sub(now).max(Duration::from_micros(1));
            let mut news = false;
            self.world.run_until(wait, |world| {
                news = world.has_events();
                news
            });
        }
    }

    fn send_pictures(&mut self, index: usize) {
        let Some(line) = self.attendees[index]
            .picture
            .filter(|_| !self.attendees[index].is_gone)
        else {
            return;
        };
        let number = self.attendees[index].pictures;
        self.attendees[index].pictures += 1;
        self.note_made(index, 1);
        if let Some(layered) = self.attendees[index].layers_within {
            return self.send_layers(index, line, number, layered.mode);
        }
        let mut key_wanted = self.attendees[index].key_wanted;
        let mut went = [false; 3];
        let layers = self.attendees[index].layers;
        let encoding_takes = self.attendees[index].encoding_takes;
        self.peer_mut(index, |peer, now| {
            let targets = peer.encoding_targets(line).unwrap_or_default();
            let Some(media) = peer.negotiated(line) else {
                return;
            };
            let Some(payload_type) = media.codec("VP8").map(|own| own.payload_type_send) else {
                return;
            };
            for (place, (rid, most)) in QUALITIES.into_iter().enumerate() {
                let target = targets
                    .get(place)
                    .map_or(0, |own| own.bitrate.as_bps())
                    .min(most);
                if target == 0 || !layers[place] {
                    // What rests begins anew.
                    key_wanted[place] = true;
                    continue;
                }
                let is_key = key_wanted[place];
                let len = (target as f64 / 30.0 / 8.0) as usize;
                let len = if is_key { 4 * len } else { len }.max(20);
                let data = picture(is_key, place, index, number, len);
                let sent = peer.send_frame(
                    now,
                    line,
                    &OutgoingFrame {
                        rid: Some(rid),
                        payload_type,
                        timestamp: number.wrapping_mul(3000).wrapping_add(1_000 * place as u32),
                        marker: false,
                        data: &data,
                        audio_level: None,
                        layer: None,
                        resolution: None,
                        picture: PictureProperties::default(),
                        times: captured_before(now, encoding_takes),
                        contributing: &[],
                    },
                );
                went[place] = sent.is_ok();
                key_wanted[place] = is_key && sent.is_err();
            }
        });
        self.attendees[index].key_wanted = key_wanted;
        self.note_sent(index, number, went);
    }

    fn send_sound(&mut self, index: usize) {
        let Some(line) = self.attendees[index]
            .sound
            .filter(|_| !self.attendees[index].is_gone)
        else {
            return;
        };
        let number = self.attendees[index].sounds;
        self.attendees[index].sounds += 1;
        self.note_made(index, 0);
        let level = self.attendees[index].level;
        let encoding_takes = self.attendees[index].encoding_takes;
        self.peer_mut(index, |peer, now| {
            let Some(media) = peer.negotiated(line) else {
                return;
            };
            let Some(payload_type) = media.codec("opus").map(|own| own.payload_type_send) else {
                return;
            };
            let mut data = [number as u8; SOUND_LEN];
            data[1] = index as u8;
            data[2..6].copy_from_slice(&number.to_be_bytes());
            let frame = OutgoingFrame {
                rid: None,
                payload_type,
                timestamp: number.wrapping_mul(960),
                marker: false,
                data: &data,
                audio_level: Some(twocan_wire::rtp::AudioLevel {
                    voice: level < 127,
                    level,
                }),
                layer: None,
                resolution: None,
                picture: PictureProperties::default(),
                times: captured_before(now, encoding_takes),
                contributing: &[],
            };
            // Before it is connected there is nobody to hear it.
            let _ = peer.send_frame(now, line, &frame);
        });
    }

    fn collect(&mut self) {
        let at = self.world.elapsed();
        (0..self.attendees.len()).for_each(|index| self.hear_channel(index));
        for (host, report) in self.world.take_events() {
            match report {
                Report::Server(forward::Event::Signal {
                    participant,
                    event,
                    data,
                }) => {
                    let names = self.attendees.iter();
                    let to = names
                        .map(|own| &own.name)
                        .position(|own| *own == participant);
                    if self.desk.is_some() {
                        self.tell_by_hall(&participant, event, &data);
                        continue;
                    }
                    let Some(to) = to else { continue };
                    if !self.tell_by_channel(to, event, &data) {
                        self.heard(to, event, data.get());
                    }
                }
                Report::Server(event) => self.take_of_channel(event),
                Report::Peer(event) => {
                    let hosts = self.attendees.iter();
                    if let Some(index) = hosts.map(|own| own.host).position(|own| own == host) {
                        self.take(at, index, event);
                    }
                }
            }
        }
    }

    fn take(&mut self, at: Duration, index: usize, event: peer::Event) {
        if let peer::Event::Rtp(rtp::Event::Frame(frame)) = &event {
            if self.oracle.is_some() {
                return self.note_frame(at, index, frame);
            }
            self.assert_permitted(index, frame);
        }
        let own = &mut self.attendees[index];
        match event {
            peer::Event::Rtp(rtp::Event::Frame(frame)) => {
                let frames = own.frames.entry(frame.mid.to_string()).or_default();
                frames.push((at, frame));
            }
            peer::Event::Rtp(rtp::Event::KeyFrameRequested { rid, .. }) => {
                own.key_requests += 1;
                for (place, (name, _)) in QUALITIES.into_iter().enumerate() {
                    own.key_wanted[place] |= rid.as_ref().is_none_or(|rid| rid.as_str() == name);
                }
            }
            peer::Event::IceCandidate(candidate) => {
                let data = json!({
                    "candidate": candidate.candidate,
                    "sdpMid": candidate.sdp_mid,
                    "sdpMLineIndex": candidate.sdp_m_line_index,
                    "usernameFragment": candidate.username_fragment,
                });
                self.say(index, "candidate", &data);
            }
            _ => {}
        }
    }

    /// The server says something: descriptions take their time, all else is taken at once.
    fn heard(&mut self, index: usize, event: &str, data: &str) {
        let parsed: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
        let text = |key: &str| parsed[key].as_str().map(str::to_owned);
        let own = &mut self.attendees[index];
        match event {
            "forward" => {
                own.forwards
                    .insert(text("mid").unwrap_or_default(), text("peer_id"));
            }
            "speakers" => {
                let all = parsed["speakers"].as_array();
                let names = all
                    .into_iter()
                    .flatten()
                    .filter_map(|own| own["peer_id"].as_str());
                own.speakers = names.map(str::to_owned).collect();
            }
            "quality" => {
                let told = parsed["participants"].as_array();
                for one in told.into_iter().flatten() {
                    let number = |key: &str| one[key].as_f64().unwrap_or(f64::NAN);
                    let peer = one["peer_id"].as_str().unwrap_or_default().to_owned();
                    own.qualities
                        .insert(peer, (number("score"), number("loss")));
                }
            }
            "layers" => {
                let rids = parsed["rids"].as_array();
                let names: Vec<_> = rids.into_iter().flatten().collect();
                own.layers = QUALITIES.map(|(name, _)| names.iter().any(|own| *own == name));
                // Of a picture that is no simulcast no streams are named.
                if names.is_empty() && parsed["active"] == true {
                    own.layers = [true; 3];
                }
                assert_eq!(parsed["active"], own.layers != [false; 3], "{data}");
            }
            "error" => own.errors.push(data.to_owned()),
            _ => {
                let at = self.world.elapsed() + SIGNALING;
                self.signals
                    .push_back((at, None, format!("{index} {event}"), data.to_owned()));
            }
        }
    }

    fn deliver(&mut self) {
        self.deliver_at_hall();
        while let Some(index) = self
            .signals
            .iter()
            .position(|(at, ..)| *at <= self.world.elapsed())
        {
            let Some((_, from, event, data)) = self.signals.remove(index) else {
                return;
            };
            match from {
                Some(from) => {
                    let name = self.attendees[from].name.clone();
                    let Ok(data) = RawValue::from_string(data) else {
                        continue;
                    };
                    self.server(|server, now| server.handle_signal(now, &name, &event, &data));
                }
                None => {
                    let Some((to, _)) = event.split_once(' ') else {
                        continue;
                    };
                    self.described(to.parse().unwrap_or(0), &data);
                }
            }
            self.collect();
        }
    }

    /// A description of the server's: the polite side of perfect negotiation takes it.
    fn described(&mut self, index: usize, data: &str) {
        if self.attendees[index].is_gone || self.attendees[index].is_deaf {
            return;
        }
        let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
        let sdp = data["sdp"].as_str().unwrap_or_default().to_owned();
        let is_offer = data["type"] == "offer";
        let answer = self.peer_mut(index, |peer, now| {
            let kind = match is_offer {
                true => SdpType::Offer,
                false => SdpType::Answer,
            };
            // An answer to what was taken back is none.
            if !is_offer && peer.signaling_state() != SignalingState::HaveLocalOffer {
                return None;
            }
            peer.set_remote_description(now, &Description { kind, sdp })
                .unwrap_or_else(|error| unreachable!("{kind:?}: {error}"));
            if !is_offer {
                return None;
            }
            peer.set_local_description(now, None)
                .unwrap_or_else(|error| unreachable!("answer: {error}"));
            peer.local_description()
        });
        if let Some(answer) = answer {
            self.say(
                index,
                "answer",
                &json!({"type": "answer", "sdp": answer.sdp}),
            );
        }
    }

    /// Whether all who are there are connected.
    pub fn is_connected(&self) -> bool {
        let present = self
            .attendees
            .iter()
            .enumerate()
            .filter(|(_, own)| !own.is_gone);
        present
            .into_iter()
            .all(|(index, _)| self.peer(index).connection_state() == ConnectionState::Connected)
    }

    /// Pictures that somebody has from somebody.
    pub fn pictures(&self, viewer: usize, from: usize) -> Vec<&(Duration, Frame)> {
        self.of(viewer, from, |frame| frame.data.len() != SOUND_LEN)
    }

    /// The same of sound.
    pub fn sounds(&self, viewer: usize, from: usize) -> Vec<&(Duration, Frame)> {
        self.of(viewer, from, |frame| frame.data.len() == SOUND_LEN)
    }

    fn of(
        &self,
        viewer: usize,
        from: usize,
        is_meant: impl Fn(&Frame) -> bool,
    ) -> Vec<&(Duration, Frame)> {
        let own = &self.attendees[viewer];
        let name = &self.attendees[from].name;
        let sections = own
            .forwards
            .iter()
            .filter(|(_, peer)| peer.as_ref() == Some(name));
        let frames = sections
            .filter_map(|(mid, _)| own.frames.get(mid))
            .flatten();
        frames.filter(|(_, frame)| is_meant(frame)).collect()
    }

    /// States and counters, for a message.
    pub fn explain(&self) -> String {
        let counters: Vec<String> = self
            .forwarder()
            .counters()
            .iter()
            .map(|(name, count)| format!("{name}={count}"))
            .collect();
        let mut text = format!("after {:?}: {}", self.elapsed(), counters.join(" "));
        for (index, own) in self.attendees.iter().enumerate() {
            let frames: Vec<String> = own
                .frames
                .iter()
                .map(|(mid, frames)| format!("{mid}: {}", frames.len()))
                .collect();
            text.push_str(&format!(
                "\n  {}: {:?}, frames {}, forwards {:?}, errors {:?}",
                own.name,
                self.peer(index).connection_state(),
                frames.join(" "),
                own.forwards,
                own.errors,
            ));
        }
        text
    }
}
