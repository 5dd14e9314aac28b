use twocan_wire::seq::SeqNo16;

use super::*;
use crate::contract::Dscp;

/// Does to outgoing packets what it is told.
#[derive(Debug)]
struct Told(fn(&mut Vec<u8>, &mut Added) -> Verdict);

impl Interceptor for Told {
    fn outgoing_rtp(&mut self, _: Now, packet: &mut Vec<u8>, added: &mut Added) -> Verdict {
        self.0(packet, added)
    }

    fn incoming_rtp(&mut self, _: Now, packet: &mut Vec<u8>, added: &mut Added) -> Verdict {
        self.0(packet, added)
    }

    fn outgoing_rtcp(&mut self, _: Now, packet: &mut Vec<u8>, added: &mut Added) -> Verdict {
        self.0(packet, added)
    }
}

fn told(what: fn(&mut Vec<u8>, &mut Added) -> Verdict) -> Interception {
    Interception::new(&InterceptorFactory::new(move || Told(what)))
}

fn now() -> Now {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    let monotonic = Instant::now();
    Now {
        monotonic,
        wallclock: Duration::from_secs(1_700_000_000),
    }
}

fn packet(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    vec![0x80, 96, high, low, 0, 0, 0, 1, 0, 0, 0, 7, b'a', b'b']
}

fn departure(number: u16, is_repeated: bool) -> Departure {
    Departure {
        ssrc: Ssrc(7),
        sequence_number: SeqNo16(number),
        transport_sequence: None,
        is_repeated,
        dscp: Dscp::DEFAULT,
    }
}

/// What becomes of a packet that leaves behind another of the same batch.
fn sent(interception: &mut Interception, departure: Departure) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    out.extend(packet(departure.sequence_number.0));
    let goes = interception.outgoing_rtp(now(), &departure, &mut out, 6);
    assert!(out.starts_with(b"before"));
    goes.then(|| out.split_off(6))
}

#[test]
fn what_is_passed_stays_and_what_is_changed_goes_changed() {
    let mut passes = told(|_, _| Verdict::Pass);
    assert_eq!(sent(&mut passes, departure(1, false)), Some(packet(1)));
    let mut changes = told(|packet, _| {
        packet.extend(b"cde");
        packet[12] = b'A';
        Verdict::Pass
    });
    let changed = sent(&mut changes, departure(1, false)).unwrap();
    assert_eq!(&changed[12..], b"Abcde");
    assert_eq!(changed[..12], packet(1)[..12]);
}

#[test]
fn what_srtp_must_not_encrypt_is_dropped_and_counted() {
    type Change = fn(&mut Vec<u8>);
    #[derive(Debug)]
    struct Changes(Change);
    impl Interceptor for Changes {
        fn outgoing_rtp(&mut self, _: Now, packet: &mut Vec<u8>, _: &mut Added) -> Verdict {
            self.0(packet);
            Verdict::Pass
        }
    }

    let cases: [(Change, &str); 8] = [
        (|packet| packet[0] = 0x40, "interceptor.bad_rtp"),
        (|packet| packet.truncate(11), "interceptor.bad_rtp"),
        (Vec::clear, "interceptor.bad_rtp"),
        // 15 contributing sources that are not there, and more padding than packet.
        (|packet| packet[0] = 0x8f, "interceptor.bad_rtp"),
        (|packet| packet[0] = 0xa0, "interceptor.bad_rtp"),
        (|packet| packet[3] += 1, "interceptor.renumbered"),
        (|packet| packet[11] += 1, "interceptor.renumbered"),
        (
            |packet| packet.resize(INTERCEPTED_LEN_MAX + 1, 0),
            "interceptor.too_long",
        ),
    ];
    for (change, reason) in cases {
        let factory = InterceptorFactory::new(move || Changes(change));
        let mut interception = Interception::new(&factory);
        let left = sent(&mut interception, departure(1, false));
        assert_eq!(left, None, "{reason}");
        assert_eq!(interception.counters.get(reason), 1, "{reason}");
    }
}

#[test]
fn a_number_goes_again_with_the_same_content_alone() {
    // Odd ones are changed, those that end in 4 are dropped.
    let mut interception = told(|packet, _| {
        if packet[3] % 2 == 1 {
            packet[12] ^= 0xff;
        }
        match packet[3] % 10 {
            4 => Verdict::Drop,
            _ => Verdict::Pass,
        }
    });
    for number in 0..6 {
        sent(&mut interception, departure(number, false));
    }
    let again = |number: u16, own: &mut Interception| sent(own, departure(number, true));
    assert_eq!(again(2, &mut interception), Some(packet(2)));
    assert_eq!(again(3, &mut interception), None);
    assert_eq!(again(4, &mut interception), None);
    assert_eq!(
        interception
            .counters
            .get("interceptor.altered_not_repeated"),
        2
    );
    assert_eq!(interception.counters.get("interceptor.outgoing_dropped"), 1);
}

#[test]
fn packets_are_added_within_bounds_and_never_under_our_own_sources() {
    let mut interception = told(|packet, added| {
        for number in 0..200 {
            added.outgoing_rtp(self::packet(number));
            added.outgoing_rtcp(vec![0x80, 201, 0, 1, 0, 0, 0, 9]);
        }
        packet.clear();
        Verdict::Drop
    });
    assert_eq!(sent(&mut interception, departure(1, false)), None);
    assert_eq!(interception.counters.get("interceptor.too_many"), 400 - 256);
    let mut out = Vec::new();
    assert_eq!(
        interception.poll_outgoing(&mut out, |_| false),
        Some(PacketKind::Rtp)
    );
    assert_eq!(out, packet(0));
    out.clear();
    // The next is RTCP; after it, those of our own source are left out.
    assert_eq!(
        interception.poll_outgoing(&mut out, |_| true),
        Some(PacketKind::Rtcp)
    );
    assert_eq!(
        interception.poll_outgoing(&mut out, |_| true),
        Some(PacketKind::Rtcp)
    );
    assert_eq!(interception.counters.get("interceptor.own_source"), 1);
    assert!(interception.has_outgoing());
}

#[test]
fn malformed_additions_and_reports_are_counted() {
    let mut interception = told(|packet, added| {
        added.outgoing_rtp(b"no".to_vec());
        added.outgoing_rtcp(vec![0x80, 201, 0, 9, 0, 0, 0, 9]);
        added.outgoing_rtp(vec![0x80; INTERCEPTED_LEN_MAX + 1]);
        packet[0] = 0;
        Verdict::Pass
    });
    let mut out = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
    assert!(!interception.outgoing_rtcp(now(), &mut out, 0));
    assert_eq!(interception.counters.get("interceptor.bad_rtcp"), 1);
    assert_eq!(interception.poll_outgoing(&mut out, |_| false), None);
    assert_eq!(interception.counters.get("interceptor.bad_rtp"), 1);
    assert_eq!(interception.counters.get("interceptor.bad_rtcp"), 2);
    assert_eq!(interception.counters.get("interceptor.too_long"), 1);
}

#[test]
fn a_deadline_that_does_not_move_does_not_keep_the_driver_busy() {
    #[derive(Debug)]
    struct Stuck(Instant);
    impl Interceptor for Stuck {
        fn deadline(&self) -> Option<Instant> {
            Some(self.0)
        }
    }
    let start = now();
    let at = start.monotonic;
    let mut interception = Interception::new(&InterceptorFactory::new(move || Stuck(at)));
    assert_eq!(interception.deadline(), Some(at));
    interception.handle_timeout(start);
    // What it may have added is sent at once; then it has to wait.
    assert_eq!(interception.deadline(), Some(at + TURN_MIN));
}
