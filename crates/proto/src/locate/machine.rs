//! The search for one server.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::order::{by_preference, by_weight};
use super::{
    Answer, FOUND_MAX, Kind, Located, Naptr, PATIENCE, QUESTIONS_MAX, Question, RECORDS_MAX,
    SERVICES_PATIENCE, Service, Srv, Transport,
};
use crate::ice::RelayProtocol;
use crate::random::Random;

/// NAPTR records that lead to further ones.
const DEPTH_MAX: u8 = 3;

/// A way to a server that the URL allows.
#[derive(Debug, Clone, Copy)]
struct Way {
    protocol: RelayProtocol,
    /// Service and protocol of SRV records.
    srv: &'static str,
    /// The application protocol of NAPTR records (RFC 5928 §5).
    naptr: &'static str,
    port: u16,
}

const STUN: Way = Way {
    protocol: RelayProtocol::Udp,
    srv: "_stun._udp",
    naptr: "",
    port: 3478,
};

const TURN_UDP: Way = Way {
    protocol: RelayProtocol::Udp,
    srv: "_turn._udp",
    naptr: "turn.udp",
    port: 3478,
};

const TURN_TCP: Way = Way {
    protocol: RelayProtocol::Tcp,
    srv: "_turn._tcp",
    naptr: "turn.tcp",
    port: 3478,
};

const TURN_TLS: Way = Way {
    protocol: RelayProtocol::Tls,
    srv: "_turns._tcp",
    naptr: "turn.tls",
    port: 5349,
};

/// The ways of a URL, the preferred one first.
fn ways(kind: Kind) -> &'static [Way] {
    match kind {
        Kind::Stun => &[STUN],
        Kind::Turn {
            is_secure: true, ..
        } => &[TURN_TLS],
        Kind::Turn {
            transport: None, ..
        } => &[TURN_UDP, TURN_TCP],
        Kind::Turn {
            transport: Some(Transport::Udp),
            ..
        } => &[TURN_UDP],
        Kind::Turn {
            transport: Some(Transport::Tcp),
            ..
        } => &[TURN_TCP],
    }
}

/// Whether NAPTR records count (RFC 5928 §3, step 4).
fn has_naptr(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Turn {
            transport: None,
            ..
        }
    )
}

/// What is not known yet.
struct Pending;

/// The search for one server, without I/O.
#[derive(Debug)]
pub struct Locator {
    service: Service,
    random: Random,
    asked: Vec<(Question, Option<Answer>)>,
    /// How many are asked in any case, addresses of the name itself first.
    at_once: usize,
    /// How many of those have been handed out.
    handed_out: usize,
    give_up_at: Instant,
    /// From when on there is something, and records of services that are not there yet count no
    /// more; what known ones lead to is waited for.
    settle_at: Option<Instant>,
    now: Instant,
    found: Option<Vec<Located>>,
}

impl Locator {
    /// Begins to look for a server. Servers of one weight are drawn by `random`.
    pub fn new(now: Instant, service: Service, random: Random) -> Self {
        let mut new = Self {
            random,
            asked: Vec::new(),
            at_once: 0,
            handed_out: 0,
            give_up_at: now + PATIENCE,
            settle_at: None,
            now,
            found: None,
            service,
        };
        let host = new.service.host.clone();
        new.ask(Question::Addresses(host.clone()));
        for way in ways(new.service.kind) {
            new.ask(Question::Srv(format!("{}.{host}", way.srv)));
        }
        if has_naptr(new.service.kind) {
            new.ask(Question::Naptr(host));
        }
        new.at_once = new.asked.len();
        new
    }

    /// The next question; all of them are asked side by side.
    pub fn poll_question(&mut self) -> Option<Question> {
        if self.found.is_some() {
            return None;
        }
        let (question, _) = self.asked.get(self.handed_out)?;
        self.handed_out += 1;
        Some(question.clone())
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.found.is_some() {
            return None;
        }
        let settle_at = self.settle_at.filter(|at| *at > self.now);
        Some(settle_at.map_or(self.give_up_at, |at| at.min(self.give_up_at)))
    }

    /// Where the server is, in the order in which it is tried; nowhere where nobody knows. `None`
    /// while the search goes on.
    pub fn found(&self) -> Option<&[Located]> {
        self.found.as_deref()
    }

    /// A question is answered.
    pub fn handle_answer(&mut self, now: Instant, question: &Question, answer: Answer) {
        let index = self.asked.iter().position(|(own, answer)| {
            // The first answer counts.
            own == question && answer.is_none()
        });
        let Some(index) = index else { return };
        let answer = match (question, answer) {
            (Question::Addresses(_), Answer::Addresses(mut all)) => {
                all.truncate(RECORDS_MAX);
                Answer::Addresses(all)
            }
            (Question::Srv(_), Answer::Srv(all)) => {
                let mut all = by_weight(all, &mut self.random);
                all.truncate(RECORDS_MAX);
                Answer::Srv(all)
            }
            (Question::Naptr(_), Answer::Naptr(all)) => {
                let mut all = by_preference(all);
                all.retain(|record| self.protocols(record).next().is_some());
                all.truncate(RECORDS_MAX);
                Answer::Naptr(all)
            }
            // An answer to something else.
            _ => return,
        };
        let is_empty = match &answer {
            Answer::Addresses(all) => all.is_empty(),
            Answer::Srv(all) => all.is_empty(),
            Answer::Naptr(all) => all.is_empty(),
        };
        if !is_empty && self.settle_at.is_none() {
            self.settle_at = Some(now + SERVICES_PATIENCE);
        }
        if let Some((_, own)) = self.asked.get_mut(index) {
            *own = Some(answer);
        }
        self.settle(now);
    }

    /// The deadline has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.settle(now);
    }

    fn settle(&mut self, now: Instant) {
        if self.found.is_some() {
            return;
        }
        self.now = now;
        if let Ok(mut found) = self.search() {
            found.truncate(FOUND_MAX);
            self.found = Some(found);
        }
    }

    /// Adds a question that has not been asked.
    fn ask(&mut self, question: Question) {
        let is_asked = self.asked.iter().any(|(own, _)| *own == question);
        if !is_asked && self.asked.len() < QUESTIONS_MAX {
            self.asked.push((question, None));
        }
    }

    /// What is known, or has to be waited for. What comes too late, and what there is no room to
    /// ask, is nothing.
    fn known(&mut self, question: Question) -> Result<Option<Answer>, Pending> {
        self.ask(question.clone());
        let index = self.asked.iter().position(|(own, _)| *own == question);
        let Some((index, (_, answer))) = index.and_then(|at| Some((at, self.asked.get(at)?)))
        else {
            return Ok(None);
        };
        let is_settled = self.settle_at.is_some_and(|at| at <= self.now);
        let is_first = (1..self.at_once).contains(&index);
        let is_late = self.give_up_at <= self.now || is_first && is_settled;
        match answer {
            Some(answer) => Ok(Some(answer.clone())),
            None if is_late => Ok(None),
            None => Err(Pending),
        }
    }

    fn addresses(&mut self, name: &str) -> Result<Vec<IpAddr>, Pending> {
        let known = self.known(Question::Addresses(name.to_owned()))?;
        Ok(match known {
            Some(Answer::Addresses(all)) => all,
            _ => Vec::new(),
        })
    }

    fn search(&mut self) -> Result<Vec<Located>, Pending> {
        let (host, kind) = (self.service.host.clone(), self.service.kind);
        if has_naptr(kind)
            && let Some(found) = self.by_naptr(&host, DEPTH_MAX)?
            && !found.is_empty()
        {
            return Ok(found);
        }
        let mut all = None;
        for way in ways(kind) {
            if let Some(found) = self.by_srv(&format!("{}.{host}", way.srv), *way)? {
                all.get_or_insert_with(Vec::new).extend(found);
            }
        }
        if let Some(all) = all {
            return Ok(all);
        }
        // A URL that leaves the transport open has always meant datagrams where nothing says more.
        let Some(way) = ways(kind).first() else {
            return Ok(Vec::new());
        };
        let addresses = self.addresses(&host)?;
        Ok(located(&addresses, *way, way.port))
    }

    /// `None` where there are no records of relays.
    fn by_naptr(&mut self, name: &str, depth: u8) -> Result<Option<Vec<Located>>, Pending> {
        let known = self.known(Question::Naptr(name.to_owned()))?;
        let records = match known {
            Some(Answer::Naptr(records)) if !records.is_empty() => records,
            _ => return Ok(None),
        };
        let mut all = Vec::new();
        let mut is_pending = false;
        for record in records {
            let next = name_of(&record.replacement);
            let flags = record.flags.to_ascii_lowercase();
            let ways: Vec<Way> = match flags.as_str() {
                // The next records say how.
                "" => Vec::new(),
                _ => self.protocols(&record).collect(),
            };
            let mut results = Vec::new();
            if flags.is_empty() && depth > 0 {
                results.push(self.by_naptr(&next, depth - 1));
            }
            for way in ways {
                results.push(match flags.as_str() {
                    "s" => self.by_srv(&next, way),
                    "a" => {
                        let addresses = self.addresses(&next);
                        addresses.map(|own| Some(located(&own, way, way.port)))
                    }
                    _ => Ok(None),
                });
            }
            for found in results {
                match found {
                    Ok(found) => all.extend(found.into_iter().flatten()),
                    // All that is missing is asked for before any of it is waited for.
                    Err(Pending) => is_pending = true,
                }
            }
        }
        all.dedup();
        if is_pending {
            return Err(Pending);
        }
        Ok(Some(all))
    }

    /// `None` where there are no records.
    fn by_srv(&mut self, name: &str, way: Way) -> Result<Option<Vec<Located>>, Pending> {
        let known = self.known(Question::Srv(name.to_owned()))?;
        let records = match known {
            Some(Answer::Srv(records)) if !records.is_empty() => records,
            _ => return Ok(None),
        };
        let mut all = Vec::new();
        let mut is_pending = false;
        for Srv { port, target, .. } in records {
            let target = name_of(&target);
            // RFC 2782: decidedly not there.
            if target.is_empty() || port == 0 {
                continue;
            }
            match self.addresses(&target) {
                Ok(own) => all.extend(located(&own, way, port)),
                Err(Pending) => is_pending = true,
            }
        }
        if is_pending {
            return Err(Pending);
        }
        Ok(Some(all))
    }

    /// The ways that a NAPTR record is for and that the URL allows: `RELAY:turn.udp:turn.tcp`.
    fn protocols(&self, record: &Naptr) -> impl Iterator<Item = Way> + use<> {
        let services = record.services.to_ascii_lowercase();
        let is_relay = services.split(':').next() == Some("relay");
        let ways = ways(self.service.kind).iter().copied();
        ways.filter(move |way| {
            let mut protocols = services.split(':').skip(1);
            is_relay && protocols.any(|own| own == way.naptr)
        })
    }
}

/// Without the dot of the root.
fn name_of(name: &str) -> String {
    name.trim_end_matches('.').to_owned()
}

fn located(addresses: &[IpAddr], way: Way, port: u16) -> Vec<Located> {
    let located = addresses.iter().map(|ip| Located {
        address: SocketAddr::new(*ip, port),
        protocol: way.protocol,
    });
    located.collect()
}
