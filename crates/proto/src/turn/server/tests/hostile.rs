use super::*;
use crate::turn::server::Quotas;
use proptest::prelude::*;

#[test]
fn a_million_spoofed_sources_leave_nothing_and_most_get_nothing() {
    let mut lab = Lab::new(config());
    let (mut received, mut sent) = (0, 0);
    let request = plain(Method::ALLOCATE, TransactionId([1; 12]), &[UDP]);
    for number in 0..1_000_000_u32 {
        // All of 16 prefixes, one after the other.
        let ip = std::net::Ipv4Addr::from(0x0808_0000 + (number % 4096));
        let from = SocketAddr::new(ip.into(), (number >> 12) as u16);
        received += request.len() + 28;
        if let Some(answer) = lab.exchange(from, &request) {
            sent += answer.len() + 28;
        }
    }
    assert!(sent * 3 < received, "{sent} for {received}");
    let counters = lab.server.counters();
    // 400 answers at once for each prefix, unless two share a place in the table.
    let answers = counters.get("turn.refused_401");
    assert!((4000..=6400).contains(&answers), "{answers}");
    assert_eq!(answers + counters.get("turn.too_many_unproven"), 1_000_000);
    assert_eq!(lab.server.clients.len(), 0);
    assert_eq!(lab.server.allocations.len(), 0);
    assert_eq!(lab.server.timers.len(), 0);
    // Who has an allocation is answered all the same, and others after a second.
    lab.wait(1);
    let mut ann = Client::ann("8.8.0.9:9");
    ann.allocate(&mut lab);
    for _ in 0..1000 {
        lab.exchange(address("8.8.0.8:1"), &request);
    }
    assert_eq!(ann.code(&mut lab, Method::REFRESH, &[]), None);
    let id = lab.id();
    assert!(
        lab.exchange(ann.at, &plain(Method::BINDING, id, &[]))
            .is_some()
    );
    assert!(
        lab.exchange(address("8.8.0.8:1"), &plain(Method::BINDING, id, &[]))
            .is_none()
    );
}

#[test]
fn binding_is_answered_to_anybody_within_three_times_its_length() {
    let mut lab = Lab::new(config());
    let from = address("[2001:db8:7::1]:99");
    let request = plain(Method::BINDING, TransactionId([1; 12]), &[]);
    let answer = lab.exchange(from, &request).unwrap();
    assert_eq!(
        Message::parse(&answer).unwrap().mapped_address(),
        Some(from)
    );
    assert!(answer.len() <= 3 * request.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever one without credentials sends, it gets three times as much at most, or nothing.
    #[test]
    fn answers_to_the_unproven_are_three_times_the_request_at_most(
        method in 0_u16..16, class in 0_u8..4,
        values in proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..24)), 0..6),
        from in 0_usize..3, realm in "[a-z.]{1,32}",
    ) {
        let mut lab = Lab::new(Config { realm, ..config() });
        let class = [Class::Request, Class::Indication, Class::Success, Class::Error][usize::from(class)];
        let mut out = Vec::new();
        let mut builder = Builder::new(&mut out, class, Method::new(method), TransactionId([3; 12]));
        for (kind, value) in &values {
            builder.attribute(Attribute::Unknown { kind: *kind, value });
        }
        builder.finish_bare();
        // The last one is how a socket of both families shows the first.
        let from = ["192.0.2.1:99", "[2001:db8:7::1]:99", "[::ffff:192.0.2.1]:99"][from];
        let header = if from.starts_with("[2001") { 48 } else { 28 };
        let from = address(from);
        if let Some(answer) = lab.exchange(from, &out) {
            prop_assert!(answer.len() + header <= 3 * (out.len() + header));
            prop_assert_eq!(class, Class::Request);
        }
        prop_assert_eq!(lab.server.allocation_count(), 0);
    }
}

#[test]
fn a_train_longer_than_the_outbox_is_cut_and_the_server_goes_on() {
    let quotas = Quotas {
        bytes_per_second: 0,
        bytes_per_second_of_user: 0,
        ..Quotas::default()
    };
    let mut lab = Lab::new(Config { quotas, ..config() });
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    let peer = address("203.0.113.9:7000");
    assert_eq!(ann.permit(&mut lab, peer), None);
    let mut bytes = send_indication(peer, &[0; 1200]);
    for _ in 0..3000 {
        let datagram = Datagram {
            path: Path {
                socket: SocketId(0),
                local: address("198.51.100.1:3478"),
            },
            remote: ann.at,
            ecn: Ecn::NotEct,
            waited: Duration::ZERO,
            bytes: &mut bytes,
        };
        lab.server.handle_datagram(lab.now, datagram);
    }
    lab.sent.clear();
    lab.drain();
    let cut = lab.server.counters().get("turn.outbox_full");
    assert_eq!(lab.sent.len() as u64 + cut, 3000);
    assert!(lab.sent.len() > 1700 && cut > 1200);
    assert_eq!(ann.permit(&mut lab, peer), None);
}
