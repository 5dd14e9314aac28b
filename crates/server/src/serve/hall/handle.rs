//! The way to the hall's task, for whoever serves a request.

use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use twocan_proto::time::Now;
use twocan_room::forward::{Choice, ChoiceRefused, Fragment, Playing};
use twocan_room::{Admission, ConnectionId, GuestRefusal, Hall, Refusal};

use super::super::media::{Figures, Media};
use super::{Comes, Command, Forwarded, Joins, Outgoing};

/// Whoever came by HTTP is not kept waiting for longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Why an offer by HTTP leads to nothing.
#[derive(Debug, Error)]
pub(crate) enum ExchangeError {
    /// The room.
    #[error(transparent)]
    Guest(#[from] GuestRefusal),
    /// The offer.
    #[error("{0}")]
    Refused(String),
    /// Nobody answered.
    #[error("the server is busy")]
    Busy,
}

/// The way to the hall's task.
#[derive(Clone)]
pub(crate) struct HallHandle(pub(super) mpsc::Sender<Command>);

impl HallHandle {
    /// Whether a connection to `room` may be upgraded.
    pub(crate) async fn admit(&self, room: &str) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        let _ = self
            .0
            .send(Command::Admit {
                room: room.to_owned(),
                answer,
            })
            .await;
        answered.await.unwrap_or(Err(Refusal::Draining))
    }

    /// A WebSocket is open; what it is to send comes through `to`.
    pub(crate) async fn connected(
        &self,
        id: ConnectionId,
        joins: Joins,
        to: mpsc::Sender<Outgoing>,
    ) {
        let _ = self.0.send(Command::Connected { id, joins, to }).await;
    }

    /// A text frame arrived.
    pub(crate) async fn text(&self, id: ConnectionId, text: String) {
        let _ = self.0.send(Command::Text(id, text)).await;
    }

    /// Another frame arrived.
    pub(crate) async fn other(&self, id: ConnectionId) {
        let _ = self.0.send(Command::Other(id)).await;
    }

    /// The WebSocket is gone.
    pub(crate) async fn disconnected(&self, id: ConnectionId) {
        let _ = self.0.send(Command::Disconnected(id)).await;
    }

    /// An offer by HTTP, and what for; the id of who came, and the answer. `registers` is told the id as soon as it is welcome, and before it can be sent away.
    ///
    /// # Errors
    /// [`ExchangeError`]; nobody came then.
    pub(crate) async fn exchange(
        &self,
        room: &str,
        admission: Admission,
        comes: Comes,
        offer: &str,
        registers: impl FnOnce(&str) + Send + 'static,
    ) -> Result<(String, String), ExchangeError> {
        let (id, named) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        let exchange = Command::Exchange {
            room: room.to_owned(),
            admission,
            purpose: comes.purpose(),
            offer: offer.to_owned(),
            id,
            answer,
        };
        let _ = self.0.send(exchange).await;
        // Whoever hangs up meanwhile is dismissed as well.
        let guest = Guest {
            id: named.await.map_err(|_| ExchangeError::Busy)??,
            hall: self,
            stays: false,
        };
        let answered = tokio::time::timeout(ANSWER_WITHIN, answered).await;
        let answered = answered.map_err(|_| ExchangeError::Busy)?;
        let answer = answered
            .map_err(|_| ExchangeError::Busy)?
            .map_err(ExchangeError::Refused)?;
        let (welcomed, done) = oneshot::channel();
        let who = guest.id.clone();
        let welcome = Command::Welcome {
            id: guest.id.clone(),
            comes,
            registers: Box::new(move || registers(&who)),
            welcomed,
        };
        let _ = self.0.send(welcome).await;
        done.await.map_err(|_| ExchangeError::Busy)??;
        Ok((guest.stay(), answer))
    }

    /// A fragment of who came by HTTP; ours, for a restart.
    ///
    /// # Errors
    /// [`ExchangeError`]; the connection is as it was then.
    pub(crate) async fn fragment(
        &self,
        id: &str,
        fragment: Fragment,
        restarts: bool,
    ) -> Result<Option<String>, ExchangeError> {
        let id = id.to_owned();
        let taken = self.forward(move |media, answer| {
            media.fragment(id, fragment, restarts, answer);
        });
        let taken = taken.await.ok_or(ExchangeError::Busy)?;
        taken.map_err(ExchangeError::Refused)
    }

    /// What somebody could see of its room; `None` of one who has left.
    pub(crate) async fn playing(&self, id: &str) -> Option<Playing> {
        let id = id.to_owned();
        self.forward(|media, answer| media.playing(id, answer))
            .await?
    }

    /// What somebody who came by HTTP wants on a line at most; `None` where nobody answers.
    pub(crate) async fn choose(
        &self,
        id: &str,
        mid: String,
        choice: Choice,
    ) -> Option<Result<(), ChoiceRefused>> {
        let id = id.to_owned();
        self.forward(|media, answer| media.choose(id, mid, choice, answer))
            .await
    }

    /// Asks a media thread something; `None` where nobody answers.
    async fn forward<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Media, oneshot::Sender<R>) + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        let ask = Box::new(move |media: Option<&mut Media>| {
            if let Some(media) = media {
                ask(media, answer);
            }
        });
        self.asked(ask, answered).await
    }

    async fn asked<R>(&self, ask: Forwarded, answered: oneshot::Receiver<R>) -> Option<R> {
        let _ = self.0.send(Command::Forward(ask)).await;
        let answered = tokio::time::timeout(ANSWER_WITHIN, answered).await;
        answered.ok()?.ok()
    }

    /// Who came by HTTP goes.
    pub(crate) async fn dismiss(&self, id: String) {
        let _ = self.0.send(Command::Dismiss(id)).await;
    }

    /// What the connections of a room carry, where its media goes through the server; `None` where
    /// nobody answers.
    pub(crate) async fn figures(&self, room: String) -> Option<Vec<Figures>> {
        let (answer, answered) = oneshot::channel();
        let ask = Box::new(move |media: Option<&mut Media>| match media {
            Some(media) => media.figures(room, answer),
            // Media goes from each to each.
            None => drop(answer.send(Vec::new())),
        });
        self.asked(ask, answered).await
    }

    /// Does something with the hall; `None` where the server ends.
    pub(crate) async fn with<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Hall, Now) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        let act = Box::new(move |hall: &mut Hall, now| {
            // Who asked may be gone by now.
            let _ = answer.send(act(hall, now));
        });
        let _ = self.0.send(Command::Administer(act)).await;
        answered.await.ok()
    }

    /// Tells everyone in how long the server ends at the latest; nobody joins any more. Returns
    /// when no media goes through the server, or after `within`.
    pub(crate) async fn drain(&self, within: Duration, ends_in: Duration) {
        let (done, idle) = oneshot::channel();
        let _ = self.0.send(Command::Drain(ends_in)).await;
        let _ = self.0.send(Command::Idle(done)).await;
        if tokio::time::timeout(within, idle).await.is_err() && !within.is_zero() {
            tracing::warn!("calls through this server are cut: --media-drain is over");
        }
    }

    /// Lets everyone go; returns when all have been told.
    pub(crate) async fn end(&self) {
        let (done, told) = oneshot::channel();
        let _ = self.0.send(Command::End(done)).await;
        // Those on data channels have an acknowledged last word, or 2 s for it.
        let _ = tokio::time::timeout(ANSWER_WITHIN, told).await;
    }
}

/// Somebody who comes by HTTP, and goes again unless it stays.
struct Guest<'a> {
    id: String,
    hall: &'a HallHandle,
    stays: bool,
}

impl Guest<'_> {
    fn stay(mut self) -> String {
        self.stays = true;
        self.id.clone()
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        if !self.stays {
            let (hall, id) = (self.hall.clone(), self.id.clone());
            tokio::spawn(async move { hall.dismiss(id).await });
        }
    }
}
