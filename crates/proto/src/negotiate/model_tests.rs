//! Random histories of two negotiators that follow the perfect negotiation pattern, checked
//! against the one rule that matters: in the end both have what both want.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use twocan_wire::ids::{Mid, Rid};
use twocan_wire::sdp::Direction;

use super::simulcast_tests::receiver;
use super::tests::{ice, negotiator};
use super::*;

#[derive(Debug, Clone)]
enum Op {
    AddTrack(Kind),
    AddTransceiver(Kind, Direction),
    AddSimulcast(Direction),
    SetDirection(usize, Direction),
    RemoveTrack(usize),
    SetStreams(usize, bool),
    Stop(usize),
    WantData,
    Restart,
    Negotiate,
    Deliver,
}

struct Side {
    negotiator: Negotiator,
    polite: bool,
    inbox: VecDeque<(SdpType, String)>,
    generation: u32,
    name: &'static str,
    plan: Option<Plan>,
    media: Vec<MediaPlan>,
    tracks: BTreeMap<TransceiverId, Mid>,
}

impl Side {
    fn new(seed: u8, polite: bool, name: &'static str) -> Self {
        Self {
            // One of the two is an SFU.
            negotiator: match polite {
                true => negotiator(seed),
                false => receiver(seed),
            },
            polite,
            inbox: VecDeque::new(),
            generation: 0,
            name,
            plan: None,
            media: Vec::new(),
            tracks: BTreeMap::new(),
        }
    }

    fn ice(&mut self) -> IceParameters {
        if self.negotiator.wants_ice_restart() {
            self.generation += 1;
        }
        ice(&format!("{}{}", self.name, self.generation))
    }

    fn took(&mut self, plan: Plan) {
        for event in &plan.events {
            match event {
                NegotiationEvent::TrackAdded {
                    transceiver, mid, ..
                } => {
                    let before = self.tracks.insert(*transceiver, mid.clone());
                    assert_eq!(before, None, "a track is added once");
                }
                NegotiationEvent::TrackRemoved { transceiver } => {
                    assert!(self.tracks.remove(transceiver).is_some());
                }
                NegotiationEvent::TransceiverStopped { .. } => {}
            }
        }
        if let Some(media) = &plan.media {
            self.media = media.clone();
        }
        self.plan = Some(plan);
    }

    fn pick(&self, index: usize) -> Option<TransceiverId> {
        let transceivers = self.negotiator.transceivers();
        let live: Vec<_> = transceivers
            .iter()
            .filter(|own| !own.is_stopping())
            .collect();
        live.get(index.checked_rem(live.len())?).map(|own| own.id())
    }
}

/// Does `op` on side `who`.
fn step(sides: &mut [Side; 2], who: usize, op: &Op) {
    let side = &mut sides[who];
    match op {
        Op::AddTrack(kind) => drop(side.negotiator.add_track(*kind, &["s"]).unwrap()),
        Op::AddTransceiver(kind, direction) => {
            let added = side.negotiator.add_transceiver(*kind, *direction, &[]);
            added.unwrap();
        }
        Op::AddSimulcast(direction) => {
            let rids = ["q", "h", "f"].map(|rid| Some(Rid::from(rid)));
            let ours = &mut side.negotiator;
            let added = ours.add_simulcast_transceiver(Kind::Video, *direction, &[], &rids);
            added.unwrap();
        }
        Op::SetDirection(index, direction) => {
            if let Some(id) = side.pick(*index) {
                side.negotiator.set_direction(id, *direction).unwrap();
            }
        }
        Op::RemoveTrack(index) => {
            if let Some(id) = side.pick(*index) {
                side.negotiator.remove_track(id).unwrap();
            }
        }
        Op::SetStreams(index, two) => {
            let streams: &[&str] = if *two { &["s", "t"] } else { &["t"] };
            if let Some(id) = side.pick(*index) {
                side.negotiator.set_streams(id, streams).unwrap();
            }
        }
        Op::Stop(index) => {
            if let Some(id) = side.pick(*index) {
                side.negotiator.stop(id).unwrap();
            }
        }
        Op::WantData => side.negotiator.want_data(),
        Op::Restart => side.negotiator.restart_ice(),
        Op::Negotiate => negotiate(sides, who),
        Op::Deliver => deliver(sides, who),
    }
}

fn negotiate(sides: &mut [Side; 2], who: usize) {
    let side = &mut sides[who];
    if !side.negotiator.is_negotiation_needed() {
        return;
    }
    let ice = side.ice();
    let offer = side.negotiator.create_offer(&ice).unwrap();
    let plan = side
        .negotiator
        .set_local_description(SdpType::Offer, &offer);
    side.took(plan.unwrap());
    sides[1 - who].inbox.push_back((SdpType::Offer, offer));
}

fn deliver(sides: &mut [Side; 2], who: usize) {
    let side = &mut sides[who];
    let Some((kind, sdp)) = side.inbox.pop_front() else {
        return;
    };
    let stable = side.negotiator.signaling_state() == SignalingState::Stable;
    if kind == SdpType::Offer && !stable && !side.polite {
        return;
    }
    let plan = side.negotiator.set_remote_description(kind, &sdp);
    side.took(plan.unwrap());
    if kind == SdpType::Offer {
        let ice = side.ice();
        let answer = side.negotiator.create_answer(&ice).unwrap();
        let plan = side
            .negotiator
            .set_local_description(SdpType::Answer, &answer);
        side.took(plan.unwrap());
        sides[1 - who].inbox.push_back((SdpType::Answer, answer));
    }
}

/// Lets both sides finish what they want.
fn finish(sides: &mut [Side; 2]) {
    // One round per side and wish; far fewer than this unless the two never agree.
    for _ in 0..20 {
        for who in [0, 1] {
            negotiate(sides, who);
        }
        while sides.iter().any(|side| !side.inbox.is_empty()) {
            deliver(sides, 0);
            deliver(sides, 1);
        }
    }
}

fn check_agreement(sides: &[Side; 2]) {
    let [a, b] = sides;
    for side in sides {
        let negotiator = &side.negotiator;
        assert_eq!(negotiator.signaling_state(), SignalingState::Stable);
        assert!(
            !negotiator.is_negotiation_needed(),
            "{} still wants an offer",
            side.name
        );
        assert_eq!(negotiator.transceivers().len(), side.media.len());
    }
    let (a_local, b_remote) = (
        a.negotiator.current_local_description(),
        b.negotiator.current_remote_description(),
    );
    assert_eq!(a_local, b_remote);
    assert_eq!(a.media.len(), b.media.len());
    for (ours, theirs) in a.media.iter().zip(&b.media) {
        assert_eq!((&ours.mid, ours.kind), (&theirs.mid, theirs.kind));
        let wish = |side: &Side, id| side.negotiator.transceiver(id).unwrap().direction();
        let (ours_wish, theirs_wish) = (wish(a, ours.transceiver), wish(b, theirs.transceiver));
        let both = ours_wish.intersect(theirs_wish.reversed());
        assert_eq!(ours.direction, both, "mid {}", ours.mid);
        assert_eq!(theirs.direction, both.reversed(), "mid {}", ours.mid);
        assert_eq!(a.tracks.contains_key(&ours.transceiver), both.receives());
        assert_eq!(b.tracks.contains_key(&theirs.transceiver), both.sends());
        assert_eq!(ours.extensions_send, theirs.extensions_receive);
        assert_eq!(ours.extensions_receive, theirs.extensions_send);
        for (codec, peer) in ours.codecs.iter().zip(&theirs.codecs) {
            assert_eq!(codec.payload_type_send, peer.payload_type);
            assert_eq!(codec.rtx_payload_type, peer.rtx_payload_type_send);
        }
        if let ([encoding], true) = (&ours.encodings[..], both.sends()) {
            // A simulcast that was refused is known by its section alone.
            let announced = theirs.remote.first().map(|own| own.ssrc);
            assert!(announced == Some(encoding.ssrc) || encoding.rid.is_some());
            assert!(theirs.rids.is_empty());
        } else if both.sends() {
            let rids = ours.encodings.iter().filter_map(|own| own.rid.clone());
            assert_eq!(theirs.rids, rids.collect::<Vec<_>>());
        }
        if both.receives() {
            assert_eq!(
                theirs.encodings.len(),
                1,
                "the polite side takes no simulcast"
            );
        }
    }
    if let (Some(ours), Some(theirs)) = (&a.plan, &b.plan) {
        assert_eq!(ours.sctp.is_some(), theirs.sctp.is_some());
        assert_eq!(ours.dtls.is_some(), theirs.dtls.is_some());
        if let (Some(ours), Some(theirs)) = (&ours.dtls, &theirs.dtls) {
            assert_ne!(ours.role, theirs.role);
        }
        let remote = |plan: &Plan| plan.ice.remote.as_ref().map(|own| own.parameters.clone());
        if ours.dtls.is_some() {
            assert_eq!(ours.ice.local, remote(theirs));
            assert_eq!(theirs.ice.local, remote(ours));
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![Just(Kind::Audio), Just(Kind::Video)];
    let direction = prop_oneof![
        Just(Direction::SendRecv),
        Just(Direction::SendOnly),
        Just(Direction::RecvOnly),
        Just(Direction::Inactive),
    ];
    prop_oneof![
        2 => kind.clone().prop_map(Op::AddTrack),
        1 => (kind, direction.clone()).prop_map(|(kind, dir)| Op::AddTransceiver(kind, dir)),
        1 => direction.clone().prop_map(Op::AddSimulcast),
        2 => (0..8usize, direction).prop_map(|(index, dir)| Op::SetDirection(index, dir)),
        1 => (0..8usize).prop_map(Op::RemoveTrack),
        1 => (0..8usize, any::<bool>()).prop_map(|(index, two)| Op::SetStreams(index, two)),
        2 => (0..8usize).prop_map(Op::Stop),
        1 => Just(Op::WantData),
        1 => Just(Op::Restart),
        6 => Just(Op::Negotiate),
        8 => Just(Op::Deliver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_history_ends_with_both_sides_in_agreement(
        history in prop::collection::vec((0..2usize, op()), 0..60),
    ) {
        let mut sides = [Side::new(1, true, "polite"), Side::new(2, false, "impolite")];
        for (who, op) in &history {
            step(&mut sides, *who, op);
        }
        finish(&mut sides);
        check_agreement(&sides);
    }

    #[test]
    fn mutated_descriptions_are_refused_or_planned_but_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
        which in 0..3usize,
    ) {
        let text = [
            include_str!("../../../../tests/vectors/sdp/chromium.offer.media.sdp"),
            include_str!("../../../../tests/vectors/sdp/firefox.simulcast.offer.sdp"),
            include_str!("../../../../tests/vectors/sdp/gst.offer.media.sdp"),
        ][which];
        let mut lines: Vec<&str> = text.lines().collect();
        for (from, to) in edits {
            let line = lines.remove(from.index(lines.len()));
            if to.index(3) > 0 {
                lines.insert(to.index(lines.len()), line);
            }
        }
        let mut ours = negotiator(1);
        ours.add_track(Kind::Video, &[]).unwrap();
        if ours.set_remote_description(SdpType::Offer, &lines.join("\r\n")).is_ok() {
            let answer = ours.create_answer(&ice("a")).unwrap();
            ours.set_local_description(SdpType::Answer, &answer).unwrap();
        } else {
            prop_assert_eq!(ours.signaling_state(), SignalingState::Stable);
            prop_assert_eq!(ours.transceivers().len(), 1);
        }
    }
}
