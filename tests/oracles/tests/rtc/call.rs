//! A call between our peer and `str0m`, with signaling between them.

use std::collections::VecDeque;
use std::time::Duration;

use str0m::change::{SdpAnswer, SdpApi, SdpOffer, SdpPendingOffer};
use str0m::config::DtlsVersion;
use str0m::{Candidate, Rtc};
use twocan_proto::channel;
use twocan_proto::negotiate::SdpType;
use twocan_proto::peer::{
    Config, ConnectionState, Description, Event, Interfaces, LocalCandidate, Peer,
};
use twocan_proto::random::Random;
use twocan_proto::time::Now;
use twocan_sim::{HostId, LinkConfig, Loss, SiteId, World, certificate, settings};

use crate::node::{End, Report, Theirs};

/// Who makes the first offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offerer {
    Us,
    Them,
}

/// Who sends the ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Us,
    Them,
}

/// How the two meet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) offerer: Offerer,
    pub(crate) client: Client,
    pub(crate) version: DtlsVersion,
    pub(crate) link: LinkConfig,
}

impl Setting {
    /// Every offerer, client and version.
    pub(crate) fn all(seed: u64, link: LinkConfig) -> impl Iterator<Item = Self> {
        let versions = [DtlsVersion::Dtls12, DtlsVersion::Dtls13, DtlsVersion::Auto];
        versions.into_iter().flat_map(move |version| {
            [Offerer::Us, Offerer::Them]
                .into_iter()
                .flat_map(move |offerer| {
                    [Client::Us, Client::Them]
                        .into_iter()
                        .map(move |client| Self {
                            seed,
                            offerer,
                            client,
                            version,
                            link,
                        })
                })
        })
    }
}

/// Loses, reorders and repeats.
pub(crate) fn bad_link() -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(5),
        loss: Loss::Independent { per_mille: 30 },
        duplicate_per_mille: 20,
        reorder_per_mille: 20,
        ..LinkConfig::default()
    }
}

enum Signal {
    OfferToThem(String),
    AnswerToThem(String),
    CandidateToThem(String),
    ToUs(Description),
}

/// The two ends.
pub(crate) struct Call {
    pub(crate) world: World<End>,
    hosts: [HostId; 2],
    sites: [SiteId; 2],
    setting: Setting,
    signals: VecDeque<(Duration, Signal)>,
    pending: Option<SdpPendingOffer>,
    /// What each end reported and nobody has looked at.
    pub(crate) our_events: Vec<Event>,
    pub(crate) our_channel_events: Vec<channel::Event>,
    pub(crate) their_events: Vec<str0m::Event>,
}

const SIGNALING: Duration = Duration::from_millis(30);

impl Call {
    pub(crate) fn new(setting: Setting) -> Self {
        let mut world = World::new(setting.seed);
        let sites = [0, 1].map(|_| world.add_site(None, setting.link, setting.link));
        let mut secret = [7; 32];
        secret[8..16].copy_from_slice(&setting.seed.to_le_bytes());
        let mut config = Config::new(certificate(0), settings(setting.seed));
        config.receive_simulcast = true;
        let peer = Peer::new(world.now(), config, Random::new(secret));
        let ours = world.add_host(sites[0], End::Ours(Box::new(peer)));
        let rtc = Rtc::builder()
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .set_dtls_version(setting.version)
            .set_sctp_max_buffered_amount(4 << 20)
            .set_stats_interval(Some(Duration::from_secs(1)))
            .set_rtcp_report_interval_audio(Duration::from_secs(1))
            .build(world.now().monotonic);
        // Its address is that of the second site.
        let ip = std::net::IpAddr::from([198, 51, 100, 2]);
        let theirs = world.add_host(sites[1], End::Theirs(Box::new(Theirs::new(rtc, ip))));
        assert_eq!(world.ip(theirs), ip);
        let mut call = Self {
            world,
            hosts: [ours, theirs],
            sites,
            setting,
            signals: VecDeque::new(),
            pending: None,
            our_events: Vec::new(),
            our_channel_events: Vec::new(),
            their_events: Vec::new(),
        };
        let added = vec![call.world.ip(ours)];
        call.us(|peer, now| {
            peer.handle_interfaces(
                now,
                &Interfaces {
                    added,
                    removed: Vec::new(),
                },
            );
        });
        call.them(|_, _| {});
        call
    }

    /// Acts on our end as its application.
    pub(crate) fn us<R>(&mut self, act: impl FnOnce(&mut Peer, Now) -> R) -> R {
        let result = self.world.with(self.hosts[0], |end, now| match end {
            End::Ours(peer) => act(peer, now),
            End::Theirs(_) => unreachable!("the first host is ours"),
        });
        self.collect();
        result
    }

    /// Acts on their end as its application: one change a time, as it asks.
    pub(crate) fn them<R>(&mut self, act: impl FnOnce(&mut Rtc, Now) -> R) -> R {
        let result = self.world.with(self.hosts[1], |end, now| match end {
            End::Theirs(theirs) => act(&mut theirs.rtc, now),
            End::Ours(_) => unreachable!("the second host is theirs"),
        });
        self.collect();
        result
    }

    pub(crate) fn setting(&self) -> Setting {
        self.setting
    }

    /// Our end, to look at.
    pub(crate) fn peer(&self) -> &Peer {
        match self.world.node(self.hosts[0]) {
            End::Ours(peer) => peer,
            End::Theirs(_) => unreachable!("the first host is ours"),
        }
    }

    /// Makes the first offer, from whoever is to make it; `change` is theirs.
    pub(crate) fn offer(&mut self, change: impl FnOnce(&mut SdpApi<'_>)) {
        match self.setting.offerer {
            Offerer::Us => self.offer_from_us(),
            Offerer::Them => self.offer_from_them(change),
        }
    }

    pub(crate) fn offer_from_us(&mut self) {
        // The description goes before the candidates that setting it brings.
        let offer = self.world.with(self.hosts[0], |end, now| match end {
            End::Ours(peer) => {
                peer.set_local_description(now, None).unwrap();
                peer.local_description().unwrap().sdp
            }
            End::Theirs(_) => unreachable!("the first host is ours"),
        });
        let offer = match self.setting.client {
            Client::Us => offer,
            Client::Them => offer.replace("a=setup:actpass", "a=setup:passive"),
        };
        self.signal(Signal::OfferToThem(offer));
        self.collect();
    }

    pub(crate) fn offer_from_them(&mut self, change: impl FnOnce(&mut SdpApi<'_>)) {
        let (offer, pending) = self.them(|rtc, _| {
            let mut api = rtc.sdp_api();
            change(&mut api);
            api.apply().unwrap()
        });
        self.pending = Some(pending);
        let offer = offer.to_sdp_string();
        let sdp = match self.setting.client {
            Client::Us => offer,
            Client::Them => offer.replace("a=setup:actpass", "a=setup:active"),
        };
        let kind = SdpType::Offer;
        self.signal(Signal::ToUs(Description { kind, sdp }));
    }

    /// Runs until `done`, for `limit` at most; answers whether `done` came.
    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let end = self.world.elapsed() + limit;
        loop {
            self.collect();
            self.deliver_signals();
            if done(self) {
                return true;
            }
            let now = self.world.elapsed();
            if now >= end {
                return false;
            }
            let signal = self.signals.front().map_or(end, |(at, _)| *at);
            // Channels are polled, so the application looks now and then.
            let look = now + Duration::from_millis(5);
            let next = signal.min(end).min(look);
            self.world
                .run_for(next.saturating_sub(now).max(Duration::from_micros(1)));
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until both ends are connected.
    #[track_caller]
    pub(crate) fn connect(&mut self) {
        let connected = self.run_until(Duration::from_secs(20), |call| {
            call.peer().connection_state() == ConnectionState::Connected
                && call.them(|rtc, _| rtc.is_connected())
        });
        assert!(connected, "not connected: {}", self.explain());
    }

    /// From here on nothing is lost.
    pub(crate) fn repair_links(&mut self) {
        for site in self.sites {
            let site = self.world.site(site);
            for link in [&mut site.uplink, &mut site.downlink] {
                link.config.loss = Loss::None;
                link.config.reorder_per_mille = 0;
                link.config.duplicate_per_mille = 0;
            }
        }
    }

    /// For a message.
    pub(crate) fn explain(&self) -> String {
        let peer = self.peer();
        let counters: Vec<String> = peer
            .counters()
            .iter()
            .map(|(name, count)| format!("{name}={count}"))
            .collect();
        format!(
            "{:?} after {:?}: connection {:?}, ice {:?}, {:?}; {}",
            self.setting,
            self.world.elapsed(),
            peer.connection_state(),
            peer.ice_connection_state(),
            peer.dtls_version(),
            counters.join(" ")
        )
    }

    /// Our counters but for those that the link explains.
    #[track_caller]
    pub(crate) fn check_counters(&self, expected: &[&str]) {
        let unexpected: Vec<_> = self
            .peer()
            .counters()
            .iter()
            .filter(|(name, _)| !expected.contains(name))
            .collect();
        assert!(unexpected.is_empty(), "{unexpected:?}: {}", self.explain());
    }

    fn signal(&mut self, signal: Signal) {
        let at = self.world.elapsed() + SIGNALING;
        self.signals.push_back((at, signal));
    }

    fn collect(&mut self) {
        let arrived = self.world.with(self.hosts[0], |end, _| match end {
            End::Ours(peer) => std::iter::from_fn(|| peer.poll_channel_event()).collect(),
            End::Theirs(_) => Vec::new(),
        });
        self.our_channel_events.extend(arrived);
        for (_, report) in self.world.take_events() {
            match report {
                Report::Ours(event) => match *event {
                    Event::IceCandidate(LocalCandidate { candidate, .. }) => {
                        if !candidate.is_empty() {
                            self.signal(Signal::CandidateToThem(candidate));
                        }
                    }
                    event => self.our_events.push(event),
                },
                Report::Theirs(event) => self.their_events.push(*event),
            }
        }
    }

    fn deliver_signals(&mut self) {
        while let Some((at, signal)) = self.signals.pop_front() {
            if at > self.world.elapsed() {
                self.signals.push_front((at, signal));
                return;
            }
            self.deliver(signal);
        }
    }

    fn deliver(&mut self, signal: Signal) {
        match signal {
            Signal::OfferToThem(sdp) => {
                let offer = SdpOffer::from_sdp_string(&sdp).unwrap();
                let answer = self.them(|rtc, _| rtc.sdp_api().accept_offer(offer).unwrap());
                let (kind, sdp) = (SdpType::Answer, answer.to_sdp_string());
                self.signal(Signal::ToUs(Description { kind, sdp }));
            }
            Signal::AnswerToThem(sdp) => {
                let answer = SdpAnswer::from_sdp_string(&sdp).unwrap();
                let pending = self.pending.take().unwrap();
                self.them(|rtc, _| rtc.sdp_api().accept_answer(pending, answer).unwrap());
            }
            Signal::CandidateToThem(candidate) => {
                let candidate = Candidate::from_sdp_string(&candidate).unwrap();
                self.them(|rtc, _| rtc.add_remote_candidate(candidate));
            }
            Signal::ToUs(description) => {
                let answer = self.world.with(self.hosts[0], |end, now| {
                    let End::Ours(peer) = end else {
                        unreachable!("the first host is ours");
                    };
                    peer.set_remote_description(now, &description).unwrap();
                    (description.kind == SdpType::Offer).then(|| {
                        peer.set_local_description(now, None).unwrap();
                        peer.local_description().unwrap().sdp
                    })
                });
                if let Some(answer) = answer {
                    self.signal(Signal::AnswerToThem(answer));
                }
                self.collect();
            }
        }
    }
}
