//! A connection with one socket, driven by whoever awaits it.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use twocan_io::clock;
use twocan_io::udp::{self, Socket};
use twocan_proto::contract::{Output, Request, SocketId};
use twocan_proto::dtls::{Certificate, Settings};
use twocan_proto::ice::GatheringState;
use twocan_proto::negotiate::SdpType;
use twocan_proto::peer::{
    self, ConnectionState, Description, Event, IceTransports, Interfaces, Peer,
};
use twocan_proto::random::Random;
use twocan_proto::wire::units::Bitrate;

use super::ClientError;

/// Longest that is waited at a time; the caller looks at its own clock then.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A connection's packets go so far ahead of its rate.
const BURST: Duration = Duration::from_millis(100);

/// What connections are made with.
#[derive(Debug)]
pub(super) struct Kit {
    pub(super) certificate: Arc<Certificate>,
    pub(super) dtls: Settings,
    pub(super) local: IpAddr,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: Box<Peer>,
    socket: Option<(SocketId, Socket)>,
}

impl Client {
    /// One that sends at `rate` from the beginning on.
    pub(super) fn new(kit: &Kit, rate: Bitrate) -> Self {
        let mut config = peer::Config::new(kit.certificate.clone(), kit.dtls.clone());
        config.ice_transports = IceTransports::Udp;
        config.congestion.start = rate;
        // A frame goes at once, as from most programs: what waits here says nothing of the server.
        config.congestion.burst = BURST;
        let now = clock::now();
        let mut peer = Peer::new(now, config, Random::new(clock::seed()));
        let interfaces = Interfaces {
            added: vec![kit.local],
            removed: Vec::new(),
        };
        peer.handle_interfaces(now, &interfaces);
        Self {
            peer: Box::new(peer),
            socket: None,
        }
    }

    /// Its offer, with all candidates.
    pub(super) async fn offer(&mut self) -> Result<String, ClientError> {
        self.peer.set_local_description(clock::now(), None)?;
        self.gathered().await
    }

    /// Takes an answer.
    pub(super) fn accept(&mut self, sdp: &str) -> Result<(), ClientError> {
        let answer = Description {
            kind: SdpType::Answer,
            sdp: sdp.to_owned(),
        };
        let now = clock::now();
        Ok(self.peer.set_remote_description(now, &answer)?)
    }

    /// Takes an offer; its answer, with all candidates.
    pub(super) async fn answer(&mut self, sdp: &str) -> Result<String, ClientError> {
        let offer = Description {
            kind: SdpType::Offer,
            sdp: sdp.to_owned(),
        };
        let now = clock::now();
        self.peer.set_remote_description(now, &offer)?;
        self.peer.set_local_description(now, None)?;
        self.gathered().await
    }

    async fn gathered(&mut self) -> Result<String, ClientError> {
        while self.peer.ice_gathering_state() != GatheringState::Complete {
            self.next(None).await?;
        }
        let described = self.peer.local_description();
        Ok(described.map(|own| own.sdp).unwrap_or_default())
    }

    /// Waits until media can flow.
    pub(super) async fn connected(&mut self) -> Result<(), ClientError> {
        while self.peer.connection_state() != ConnectionState::Connected {
            match self.next(None).await? {
                Some(Event::Failed(failure)) => {
                    return Err(ClientError::Failed(failure.to_string()));
                }
                Some(Event::ConnectionState(
                    state @ (ConnectionState::Failed | ConnectionState::Closed),
                )) => return Err(ClientError::Failed(format!("{state:?}"))),
                _ => {}
            }
        }
        Ok(())
    }

    /// The next event; `None` when the moment has come, or a while has passed.
    pub(super) async fn next(
        &mut self,
        until: Option<Instant>,
    ) -> Result<Option<Event>, ClientError> {
        let end = Instant::now() + PAUSE_MAX;
        let end = until.map_or(end, |until| until.min(end));
        loop {
            let deadline = match self.settle()? {
                Settled::Event(event) => return Ok(Some(*event)),
                Settled::Wait(deadline) => deadline,
            };
            if Instant::now() >= end {
                return Ok(None);
            }
            let wake = deadline.map_or(end, |deadline| deadline.min(end));
            tokio::select! {
                biased;
                () = receive(&self.socket, &mut self.peer) => {}
                () = tokio::time::sleep_until(wake.into()) => {
                    self.peer.handle_timeout(clock::now());
                }
            }
        }
    }

    /// Says goodbye, so that the server need not wait for it.
    pub(super) fn close(&mut self) {
        self.peer.close(clock::now());
        while let Ok(Settled::Event(_)) = self.settle() {}
    }

    fn settle(&mut self) -> Result<Settled, ClientError> {
        udp::with_batch(|batch| {
            loop {
                batch.clear();
                match self.peer.poll_output(clock::now(), batch) {
                    Output::Event(event) => return Ok(Settled::Event(Box::new(event))),
                    Output::Request(Request::Bind { socket, ip }) => {
                        let bound = Socket::bind(ip).map_err(ClientError::Socket)?;
                        let local = bound.local();
                        self.socket = Some((socket, bound));
                        self.peer.handle_bound(clock::now(), socket, local);
                    }
                    // It has one address, and no names to look up.
                    Output::Request(_) => {}
                    Output::Transmit => {
                        if let Some((_, socket)) = &self.socket {
                            socket.send(batch);
                        }
                    }
                    Output::Wait(deadline) => {
                        return Ok(Settled::Wait(deadline.map(|deadline| deadline.at)));
                    }
                }
            }
        })
    }
}

enum Settled {
    Event(Box<Event>),
    Wait(Option<Instant>),
}

async fn receive(socket: &Option<(SocketId, Socket)>, peer: &mut Peer) {
    poll_fn(|context| {
        let Some((id, socket)) = socket else {
            return Poll::Pending;
        };
        let now = clock::now();
        let polled = socket.poll_receive(context, |reception| {
            peer.handle_datagram(now, reception.on(*id));
        });
        // An error is that of an earlier datagram; the socket goes on.
        polled.map(|_| ())
    })
    .await;
}
