use super::*;
use proptest::prelude::*;
use twocan_wire::stun::ErrorCode;

const SERVER: &str = "203.0.113.1:3478";
const OTHER: &str = "203.0.113.2:3479";
const OUTER: &str = "198.51.100.1:20000";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn epoch() -> Now {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    let monotonic = Instant::now();
    Now {
        monotonic,
        wallclock: Duration::from_secs(1_700_000_000),
    }
}

/// A request as it left: the socket, where it went, its id, what it wants changed.
type Sent = (SocketId, SocketAddr, TransactionId, (bool, bool));

/// The machine, its clock, and how many requests it sent.
struct Lab {
    machine: NatDiscovery,
    now: Now,
    sent: usize,
}

impl Lab {
    fn new() -> Self {
        let ip = "10.0.0.2".parse().unwrap();
        Self {
            machine: NatDiscovery::new(address(SERVER), ip, Random::new([5; 32])),
            now: epoch(),
            sent: 0,
        }
    }

    /// Runs to the end with a server that answers by `answer`: from where, and with what.
    fn run(&mut self, answer: impl Fn(Sent) -> Option<(SocketAddr, Vec<u8>)>) -> NatBehaviour {
        let mut batch = Batch::new();
        loop {
            batch.clear();
            match self.machine.poll_output(self.now, &mut batch) {
                Output::Transmit => {
                    self.sent += 1;
                    let to = batch.destination().unwrap();
                    let request = Message::parse(batch.bytes()).unwrap();
                    let change = request.attributes().find_map(|attribute| match attribute {
                        Attribute::ChangeRequest { ip, port } => Some((ip, port)),
                        _ => None,
                    });
                    let sent = (
                        to.path.socket,
                        to.remote,
                        request.transaction,
                        change.unwrap_or_default(),
                    );
                    if let Some((from, mut bytes)) = answer(sent) {
                        self.deliver(to.path.socket, from, &mut bytes);
                    }
                }
                Output::Request(Request::Bind { socket, ip }) => {
                    let local = SocketAddr::new(ip, 4000 + socket.0 as u16);
                    self.machine.handle_bound(self.now, socket, local);
                }
                Output::Request(other) => panic!("{other:?}"),
                Output::Event(report) => return report,
                Output::Wait(deadline) => {
                    let next = deadline.unwrap().at;
                    assert!(next > self.now.monotonic, "it acts on its deadline");
                    self.now.monotonic = next;
                    self.machine.handle_timeout(self.now);
                }
            }
        }
    }

    fn deliver(&mut self, socket: SocketId, remote: SocketAddr, bytes: &mut [u8]) {
        let path = Path {
            socket,
            local: address("10.0.0.2:4000"),
        };
        let ecn = Ecn::NotEct;
        let datagram = Datagram {
            path,
            remote,
            ecn,
            waited: Duration::ZERO,
            bytes,
        };
        self.machine.handle_datagram(self.now, datagram);
    }
}

fn success(id: TransactionId, attributes: &[Attribute<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut builder = Builder::new(&mut out, Class::Success, Method::BINDING, id);
    for attribute in attributes {
        builder.attribute(*attribute);
    }
    builder.finish();
    out
}

fn mapped(id: TransactionId, other: Option<&str>) -> Vec<u8> {
    let mut attributes = vec![Attribute::XorMappedAddress(address(OUTER))];
    attributes.extend(other.map(|text| Attribute::OtherAddress(address(text))));
    success(id, &attributes)
}

#[test]
fn silence_is_no_answer_and_ends() {
    let mut lab = Lab::new();
    let began = lab.now.monotonic;
    let report = lab.run(|_| None);
    assert_eq!(report.mapping, Err(Untold::NoAnswer));
    assert_eq!(report.filtering, Err(Untold::NoAnswer));
    assert_eq!((report.mapped, report.is_translated()), (None, None));
    assert_eq!(lab.sent, 2 * ATTEMPTS_MAX as usize);
    assert_eq!(lab.now.monotonic, began + PATIENCE);
}

#[test]
fn a_server_with_one_address_tells_that_there_is_a_translator_and_no_more() {
    let report = Lab::new().run(|(_, to, id, _)| Some((to, mapped(id, None))));
    assert_eq!(report.is_translated(), Some(true));
    assert_eq!(report.mapped, Some(address(OUTER)));
    assert_eq!(report.mapping, Err(Untold::NoOtherAddress));
    assert_eq!(report.filtering, Err(Untold::NoOtherAddress));
}

#[test]
fn a_server_cannot_point_us_at_our_own_network() {
    for other in [
        "127.0.0.1:80",
        "10.0.0.1:80",
        "192.168.1.1:80",
        "100.64.0.1:9",
        "169.254.169.254:80",
        "224.0.0.1:80",
        "0.0.0.0:80",
        "255.255.255.255:80",
        "[2001:db8::1]:80",
        "[::1]:80",
        // Not another one.
        "203.0.113.1:80",
        "203.0.113.2:3478",
        "203.0.113.2:0",
    ] {
        let report = Lab::new().run(|(_, to, id, change)| {
            assert_eq!((to, change), (address(SERVER), (false, false)));
            Some((to, mapped(id, Some(other))))
        });
        let why = Untold::UnusableOtherAddress(address(other));
        assert_eq!(report.mapping, Err(why), "{other}");
        assert_eq!(report.filtering, Err(why), "{other}");
    }
    // Inside a network the other address is there too.
    for (server, other) in [
        ("127.0.0.1:1", "127.0.0.2:2"),
        ("10.0.0.1:1", "10.0.0.2:2"),
        ("[fd00::1]:1", "[fd00::2]:2"),
        ("10.0.0.1:1", "203.0.113.9:2"),
    ] {
        assert!(is_usable(address(server), address(other)), "{server}");
    }
}

#[test]
fn a_server_that_answers_from_elsewhere_than_asked_proves_nothing() {
    let report = Lab::new().run(|(_, to, id, _)| Some((to, mapped(id, Some(OTHER)))));
    assert_eq!(report.mapping, Ok(Behaviour::EndpointIndependent));
    assert_eq!(report.filtering, Err(Untold::NotChanged));
    // Refused, as a server does that does not know CHANGE-REQUEST.
    let report = Lab::new().run(|(_, to, id, change)| {
        let mut out = mapped(id, Some(OTHER));
        if change != (false, false) {
            out.clear();
            let mut builder = Builder::new(&mut out, Class::Error, Method::BINDING, id);
            builder.attribute(Attribute::ErrorCode(ErrorCode::UNKNOWN_ATTRIBUTE));
            builder.finish();
        }
        Some((to, out))
    });
    assert_eq!(report.filtering, Err(Untold::Refused(420)));
    // Without an address of ours.
    let report = Lab::new().run(|(_, to, id, _)| Some((to, success(id, &[]))));
    assert_eq!(report.mapping, Err(Untold::NoMappedAddress));
}

#[test]
fn silence_of_an_address_that_answers_nobody_is_no_filter() {
    let mut lab = Lab::new();
    let first_alone = |(_, to, id, change): Sent| {
        let answers = to == address(SERVER) && change == (false, false);
        answers.then(|| (to, mapped(id, Some(OTHER))))
    };
    let report = lab.run(first_alone);
    assert_eq!(report.mapping, Err(Untold::OtherAddressSilent));
    assert_eq!(report.filtering, Err(Untold::OtherAddressSilent));
}

#[test]
fn strangers_answer_nothing() {
    let mut lab = Lab::new();
    let report = lab.run(|(_, _, id, _)| Some((address("192.0.2.66:6"), mapped(id, None))));
    assert_eq!(report.mapping, Err(Untold::NoAnswer));
    let strange = lab
        .machine
        .counters()
        .get("nat_behaviour.unexpected_source");
    assert_eq!(strange, 2 * u64::from(ATTEMPTS_MAX));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_arrives_it_ends(
        noise in proptest::collection::vec(any::<u8>(), 0..64),
        class in 0..3_u8,
        number in any::<u32>(),
        port in any::<u16>(),
    ) {
        let odd = SocketAddr::from((number.to_be_bytes(), port));
        let report = Lab::new().run(|(_, to, id, _)| {
            let bytes = match class {
                0 => noise.clone(),
                1 => success(id, &[
                    Attribute::XorMappedAddress(odd),
                    Attribute::OtherAddress(odd),
                ]),
                _ => success(id, &[Attribute::OtherAddress(address(OTHER))]),
            };
            Some((to, bytes))
        });
        prop_assert!(class == 1 || report.mapping.is_err());
    }
}
