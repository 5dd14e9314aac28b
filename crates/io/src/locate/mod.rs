//! Servers that are named without a port, found by [`twocan_proto::locate`].

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use tokio::task::JoinSet;
use tokio::time::sleep_until;
use twocan_proto::locate::{Answer, Located, Locator, Question, Service};
use twocan_proto::random::Random;

use crate::{clock, names};

#[cfg(feature = "services")]
mod records;

/// Looks for a server for 5 s at most. Addresses of names are the system's resolver's; records of
/// services are asked for with the feature `services`, of `name_servers`, or of those that the
/// system is configured to ask where there are none.
pub async fn locate(service: Service, name_servers: &[SocketAddr]) -> Vec<Located> {
    let random = Random::new(clock::seed());
    let mut machine = Locator::new(Instant::now(), service, random);
    let asker = Asker::new(name_servers);
    let mut asked = JoinSet::new();
    loop {
        while let Some(question) = machine.poll_question() {
            let asker = asker.clone();
            asked.spawn(async move {
                let answer = asker.ask(&question).await;
                (question, answer)
            });
        }
        if let Some(found) = machine.found() {
            return found.to_vec();
        }
        let Some(at) = machine.poll_timeout() else {
            return Vec::new();
        };
        tokio::select! {
            Some(answered) = asked.join_next() => {
                // What has no answer has its end.
                if let Ok((question, answer)) = answered {
                    machine.handle_answer(Instant::now(), &question, answer);
                }
            }
            () = sleep_until(at.into()) => machine.handle_timeout(Instant::now()),
        }
    }
}

/// The addresses of a name, of `name_servers` those of IPv6 alone, with the feature `services`; the
/// system's resolver is asked where there are none: that of a network with a NAT64 makes addresses
/// (RFC 6147). None where it has none, or could not be asked.
pub async fn addresses(name: &str, name_servers: &[SocketAddr]) -> Vec<IpAddr> {
    #[cfg(feature = "services")]
    if !name_servers.is_empty() {
        return match records::Records::new(name_servers) {
            Some(records) => records.aaaa(name).await,
            None => Vec::new(),
        };
    }
    #[cfg(not(feature = "services"))]
    let _ = name_servers;
    names::resolve(name).await.unwrap_or_default()
}

/// Whoever answers.
#[derive(Clone)]
struct Asker {
    #[cfg(feature = "services")]
    records: Option<records::Records>,
}

impl Asker {
    #[cfg_attr(not(feature = "services"), expect(unused_variables))]
    fn new(name_servers: &[SocketAddr]) -> Self {
        Self {
            #[cfg(feature = "services")]
            records: records::Records::new(name_servers),
        }
    }

    async fn ask(&self, question: &Question) -> Answer {
        match question {
            Question::Addresses(name) => {
                Answer::Addresses(names::resolve(name).await.unwrap_or_default())
            }
            Question::Srv(name) => Answer::Srv(self.srv(name).await),
            Question::Naptr(name) => Answer::Naptr(self.naptr(name).await),
        }
    }
}

#[cfg(feature = "services")]
impl Asker {
    async fn srv(&self, name: &str) -> Vec<twocan_proto::locate::Srv> {
        match &self.records {
            Some(records) => records.srv(name).await,
            None => Vec::new(),
        }
    }

    async fn naptr(&self, name: &str) -> Vec<twocan_proto::locate::Naptr> {
        match &self.records {
            Some(records) => records.naptr(name).await,
            None => Vec::new(),
        }
    }
}

#[cfg(not(feature = "services"))]
impl Asker {
    async fn srv(&self, _name: &str) -> Vec<twocan_proto::locate::Srv> {
        Vec::new()
    }

    async fn naptr(&self, _name: &str) -> Vec<twocan_proto::locate::Naptr> {
        Vec::new()
    }
}
