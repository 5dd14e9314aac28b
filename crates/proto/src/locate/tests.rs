use std::time::{Duration, Instant};

use super::order::by_weight;
use super::*;
use crate::random::Random;

const TURN: Kind = Kind::Turn {
    is_secure: false,
    transport: None,
};

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
    Srv {
        priority,
        weight,
        port,
        target: target.to_owned(),
    }
}

fn naptr(order: u16, flags: &str, services: &str, replacement: &str) -> Naptr {
    Naptr {
        order,
        preference: 0,
        flags: flags.to_owned(),
        services: services.to_owned(),
        replacement: replacement.to_owned(),
    }
}

fn ips(texts: &[&str]) -> Answer {
    Answer::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
}

/// A zone, and a search in it.
struct Lab {
    locator: Locator,
    now: Instant,
    zone: Vec<(Question, Answer)>,
    asked: Vec<Question>,
}

impl Lab {
    fn new(kind: Kind, zone: Vec<(Question, Answer)>) -> Self {
        let host = "example.org".to_owned();
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        let now = Instant::now();
        Self {
            locator: Locator::new(now, Service { host, kind }, Random::new([7; 32])),
            now,
            zone,
            asked: Vec::new(),
        }
    }

    /// Takes the questions that there are.
    fn questions(&mut self) -> Vec<Question> {
        let questions: Vec<Question> =
            std::iter::from_fn(|| self.locator.poll_question()).collect();
        self.asked.extend(questions.clone());
        questions
    }

    fn answer(&mut self, question: &Question) {
        let known = self.zone.iter().find(|(own, _)| own == question);
        let answer = known.map_or_else(
            || match question {
                Question::Addresses(_) => Answer::Addresses(Vec::new()),
                Question::Srv(_) => Answer::Srv(Vec::new()),
                Question::Naptr(_) => Answer::Naptr(Vec::new()),
            },
            |(_, answer)| answer.clone(),
        );
        self.locator.handle_answer(self.now, question, answer);
    }

    /// Answers everything at once.
    fn run(&mut self) -> String {
        loop {
            let questions = self.questions();
            if questions.is_empty() {
                return self.found().expect("all is answered");
            }
            for question in questions {
                self.answer(&question);
            }
        }
    }

    fn found(&self) -> Option<String> {
        let found = self.locator.found()?;
        let text = |own: &Located| format!("{} {}", own.protocol.as_str(), own.address);
        Some(found.iter().map(text).collect::<Vec<_>>().join(", "))
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        if self.locator.poll_timeout().is_some_and(|at| at <= self.now) {
            self.locator.handle_timeout(self.now);
        }
    }
}

fn plain() -> (Question, Answer) {
    let name = "example.org".to_owned();
    (
        Question::Addresses(name),
        ips(&["192.0.2.1", "2001:db8::1"]),
    )
}

fn host(name: &str, ip: &str) -> (Question, Answer) {
    (Question::Addresses(name.to_owned()), ips(&[ip]))
}

fn service(name: &str, records: &[Srv]) -> (Question, Answer) {
    (
        Question::Srv(name.to_owned()),
        Answer::Srv(records.to_vec()),
    )
}

fn names(name: &str, records: &[Naptr]) -> (Question, Answer) {
    (
        Question::Naptr(name.to_owned()),
        Answer::Naptr(records.to_vec()),
    )
}

#[test]
fn without_records_of_services_the_name_and_the_default_port_are_left() {
    let turn = |is_secure, transport| Kind::Turn {
        is_secure,
        transport,
    };
    for (kind, expected) in [
        (Kind::Stun, "udp 192.0.2.1:3478, udp [2001:db8::1]:3478"),
        (TURN, "udp 192.0.2.1:3478, udp [2001:db8::1]:3478"),
        (
            turn(false, Some(Transport::Tcp)),
            "tcp 192.0.2.1:3478, tcp [2001:db8::1]:3478",
        ),
        (
            turn(true, None),
            "tls 192.0.2.1:5349, tls [2001:db8::1]:5349",
        ),
    ] {
        let mut lab = Lab::new(kind, vec![plain()]);
        assert_eq!(lab.run(), expected);
        assert_eq!(lab.locator.poll_timeout(), None);
    }
    // Nothing at all is found soon as well.
    assert_eq!(Lab::new(TURN, Vec::new()).run(), "");
}

#[test]
fn what_a_url_leaves_open_is_asked_and_no_more() {
    let asked = |kind| {
        let mut lab = Lab::new(kind, Vec::new());
        let questions = lab.questions();
        let text = |own: &Question| match own {
            Question::Addresses(name) => format!("A {name}"),
            Question::Srv(name) => format!("SRV {name}"),
            Question::Naptr(name) => format!("NAPTR {name}"),
        };
        questions.iter().map(text).collect::<Vec<_>>()
    };
    let stun = ["A example.org", "SRV _stun._udp.example.org"];
    assert_eq!(asked(Kind::Stun), stun);
    let any = [
        "A example.org",
        "SRV _turn._udp.example.org",
        "SRV _turn._tcp.example.org",
        "NAPTR example.org",
    ];
    assert_eq!(asked(TURN), any);
    let stated = Kind::Turn {
        is_secure: true,
        transport: Some(Transport::Tcp),
    };
    assert_eq!(
        asked(stated),
        ["A example.org", "SRV _turns._tcp.example.org"]
    );
}

#[test]
fn records_of_services_come_before_the_name_itself_by_priority() {
    let records = [
        srv(20, 0, 443, "late.example.org."),
        srv(10, 0, 3479, "early.example.org"),
    ];
    let zone = vec![
        plain(),
        service("_turn._udp.example.org", &records),
        host("late.example.org", "192.0.2.20"),
        host("early.example.org", "192.0.2.10"),
    ];
    let mut lab = Lab::new(TURN, zone.clone());
    assert_eq!(lab.run(), "udp 192.0.2.10:3479, udp 192.0.2.20:443");
    // The same for STUN is another service.
    assert!(
        Lab::new(Kind::Stun, zone)
            .run()
            .starts_with("udp 192.0.2.1:3478")
    );
}

#[test]
fn naptr_records_say_how_before_srv_records_are_looked_at() {
    // The example of RFC 5928, appendix A, with names of its kind.
    let zone = vec![
        plain(),
        names(
            "example.org",
            &[
                naptr(200, "s", "RELAY:turn.tcp", "_turn._tcp.example.org."),
                naptr(100, "S", "relay:turn.udp:turn.dtls", "datagram.example.org"),
                naptr(50, "s", "SIP+D2U", "_sip._udp.example.org"),
                naptr(10, "a", "RELAY:turn.tls", "secure.example.org"),
                naptr(300, "a", "RELAY:turn.udp", "host.example.org"),
            ],
        ),
        service("datagram.example.org", &[srv(0, 0, 5000, "a.example.org")]),
        service("_turn._udp.example.org", &[srv(0, 0, 1, "no.example.org")]),
        service("_turn._tcp.example.org", &[srv(0, 0, 80, "a.example.org")]),
        host("a.example.org", "192.0.2.7"),
        host("host.example.org", "192.0.2.8"),
        host("secure.example.org", "192.0.2.9"),
    ];
    let found = "udp 192.0.2.7:5000, tcp 192.0.2.7:80, udp 192.0.2.8:3478";
    let mut lab = Lab::new(TURN, zone.clone());
    assert_eq!(lab.run(), found);
    let no = Question::Addresses("_sip._udp.example.org".to_owned());
    assert!(!lab.asked.contains(&no));
    let secure = Kind::Turn {
        is_secure: true,
        transport: None,
    };
    assert_eq!(Lab::new(secure, zone).run(), "tls 192.0.2.9:5349");
}

#[test]
fn a_service_that_is_decidedly_not_there_is_not_looked_for_elsewhere() {
    let zone = vec![
        plain(),
        service("_stun._udp.example.org", &[srv(0, 0, 0, ".")]),
    ];
    assert_eq!(Lab::new(Kind::Stun, zone).run(), "");
}

#[test]
fn silence_about_services_costs_a_quarter_of_a_second_once_the_name_is_known() {
    let mut lab = Lab::new(TURN, vec![plain()]);
    lab.questions();
    lab.wait(Duration::from_secs(1));
    assert_eq!(lab.found(), None);
    lab.answer(&plain().0);
    assert_eq!(lab.found(), None);
    lab.wait(SERVICES_PATIENCE - Duration::from_millis(1));
    assert_eq!(lab.found(), None);
    lab.wait(Duration::from_millis(1));
    assert!(lab.found().unwrap().starts_with("udp 192.0.2.1:3478"));
    // What comes late changes nothing.
    let late = service("_turn._udp.example.org", &[srv(0, 0, 1, "a")]);
    lab.locator.handle_answer(lab.now, &late.0, late.1);
    assert!(lab.found().unwrap().starts_with("udp 192.0.2.1:3478"));
    assert_eq!(lab.questions(), []);
}

#[test]
fn hosts_of_a_known_service_are_waited_for_and_silence_ends_it_all() {
    let known = service("_turn._udp.example.org", &[srv(0, 0, 9, "a.example.org")]);
    let mut lab = Lab::new(
        TURN,
        vec![plain(), known.clone(), host("a.example.org", "192.0.2.9")],
    );
    lab.questions();
    lab.answer(&known.0);
    lab.answer(&plain().0);
    lab.wait(Duration::from_secs(1));
    assert_eq!(lab.found(), None);
    let next = lab.questions();
    assert_eq!(next, [Question::Addresses("a.example.org".to_owned())]);
    lab.answer(&next[0]);
    assert_eq!(lab.found().unwrap(), "udp 192.0.2.9:9");

    let mut lab = Lab::new(TURN, Vec::new());
    lab.questions();
    lab.wait(PATIENCE);
    assert_eq!(lab.found().unwrap(), "");
}

#[test]
fn records_in_circles_and_in_heaps_are_bounded() {
    let circle = naptr(0, "", "RELAY:turn.udp", "example.org");
    let mut lab = Lab::new(TURN, vec![plain(), names("example.org", &[circle])]);
    assert!(lab.run().starts_with("udp 192.0.2.1:3478"));
    let heap: Vec<Naptr> = (0..1000)
        .map(|n| {
            naptr(
                n,
                "s",
                "RELAY:turn.udp:turn.tcp",
                &format!("n{n}.example.org"),
            )
        })
        .collect();
    let mut zone = vec![plain(), names("example.org", &heap)];
    for n in 0..1000 {
        let records: Vec<Srv> = (0..100)
            .map(|m| srv(0, 0, 1, &format!("n{n}m{m}.example.org")))
            .collect();
        zone.push(service(&format!("n{n}.example.org"), &records));
    }
    let mut lab = Lab::new(TURN, zone);
    lab.run();
    assert!(lab.asked.len() <= QUESTIONS_MAX, "{}", lab.asked.len());
    assert!(lab.locator.found().unwrap().len() <= FOUND_MAX);
}

#[test]
fn within_a_priority_the_weight_is_the_share() {
    let mut random = Random::new([1; 32]);
    let records = || {
        vec![
            srv(1, 30, 1, "a"),
            srv(1, 10, 2, "b"),
            srv(1, 0, 3, "c"),
            srv(0, 0, 4, "d"),
        ]
    };
    let mut first = [0_u32; 5];
    for _ in 0..4000 {
        let ordered = by_weight(records(), &mut random);
        assert_eq!(ordered.len(), 4);
        assert_eq!(ordered[0].port, 4, "the lowest priority first");
        first[usize::from(ordered[1].port)] += 1;
    }
    assert!((2700..3200).contains(&first[1]), "{first:?}");
    assert!((800..1200).contains(&first[2]), "{first:?}");
    // RFC 2782: a very small chance for those without a weight.
    assert!((30..250).contains(&first[3]), "{first:?}");
}
