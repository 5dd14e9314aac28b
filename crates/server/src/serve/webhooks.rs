//! What happens in the rooms, told to other servers by HTTP: signed, in order, and again where
//! nobody took it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use twocan_io::clock;
use twocan_proto::crypto::Hash;
use twocan_proto::random::Random;
use twocan_room::{Notice, ParticipantInfo};

use super::tokens_settings::WebhookPlan;
use crate::requests::{Asked, send};
use crate::tokens::{Claims, Signer};

/// Events that wait for a server; further ones are dropped.
const WAITING_MAX: usize = 1_000;

/// Bytes of those together; the same.
const WAITING_LEN_MAX: usize = 4 << 20;

/// How often one is sent before it is given up.
const ATTEMPTS: u32 = 6;

/// Before the second attempt; each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How long a signature counts.
const SIGNED_FOR: Duration = Duration::from_secs(300);

/// The ways to all servers that are told.
pub(super) struct Webhooks {
    to: Vec<Way>,
    random: Random,
}

/// The way to one server.
struct Way {
    to: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// An event that waits for a server.
struct Waiting {
    text: Arc<str>,
    /// The bytes that it takes of the queue, until it is delivered or given up.
    _room: OwnedSemaphorePermit,
}

impl Way {
    fn new() -> (Self, mpsc::Receiver<Waiting>) {
        let (to, events) = mpsc::channel(WAITING_MAX);
        let room = Arc::new(Semaphore::new(WAITING_LEN_MAX));
        (Self { to, room }, events)
    }

    /// `false` where there is no room.
    fn push(&self, text: &Arc<str>) -> bool {
        let Ok(len) = u32::try_from(text.len()) else {
            return false;
        };
        let Ok(room) = self.room.clone().try_acquire_many_owned(len) else {
            return false;
        };
        let text = text.clone();
        self.to.try_send(Waiting { text, _room: room }).is_ok()
    }
}

#[derive(Serialize)]
struct Told<'a> {
    event: &'static str,
    id: String,
    #[serde(rename = "createdAt")]
    created_at: u64,
    room: Named<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant: Option<&'a ParticipantInfo>,
    #[serde(rename = "participantId", skip_serializing_if = "Option::is_none")]
    participant_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

impl<'a> Told<'a> {
    fn of(event: &'static str, room: &'a str) -> Self {
        Self {
            event,
            id: String::new(),
            created_at: clock::now().wallclock.as_secs(),
            room: Named { name: room },
            participant: None,
            participant_id: None,
            track: None,
            reason: None,
        }
    }
}

impl Webhooks {
    /// Starts a task for each server.
    pub(super) fn start(plan: Option<&WebhookPlan>) -> Self {
        let urls = plan.into_iter().flat_map(|plan| {
            let signer = &plan.signer;
            plan.urls.iter().map(|url| (url.clone(), signer.clone()))
        });
        let start = |(url, signer)| {
            let (way, events) = Way::new();
            tokio::spawn(deliver(url, signer, events));
            way
        };
        Self {
            to: urls.map(start).collect(),
            random: Random::new(clock::seed()),
        }
    }

    /// Tells all of something.
    pub(super) fn tell(&mut self, notice: &Notice) {
        if self.to.is_empty() {
            return;
        }
        let mut told = written(notice);
        told.id = self.random.ice_chars(22);
        // Strings, numbers and already valid JSON: nothing here can fail to serialize.
        let text = serde_json::to_string(&told).unwrap_or_default().into();
        for _ in self.to.iter().filter(|way| !way.push(&text)) {
            count("dropped");
        }
    }
}

fn written(notice: &Notice) -> Told<'_> {
    match notice {
        Notice::RoomStarted { room } => Told::of("room_started", room),
        Notice::RoomFinished { room } => Told::of("room_finished", room),
        Notice::ParticipantJoined { room, participant } => Told {
            participant: Some(participant),
            ..Told::of("participant_joined", room)
        },
        Notice::ParticipantLeft {
            room,
            participant,
            reason,
        } => Told {
            participant: Some(participant),
            reason: Some(reason),
            ..Told::of("participant_left", room)
        },
        Notice::TrackPublished {
            room,
            participant,
            track,
        } => Told {
            participant_id: Some(participant),
            track: Some(track),
            ..Told::of("track_published", room)
        },
        Notice::TrackUnpublished {
            room,
            participant,
            track,
        } => Told {
            participant_id: Some(participant),
            track: Some(track),
            ..Told::of("track_unpublished", room)
        },
    }
}

/// Sends events to one server, one after another.
async fn deliver(url: String, signer: Signer, mut events: mpsc::Receiver<Waiting>) {
    while let Some(waiting) = events.recv().await {
        let text = &waiting.text;
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ATTEMPTS {
            let failure = match post(&url, &signer, text).await {
                Ok(status) if (200..300).contains(&status) => {
                    count("delivered");
                    break;
                }
                Ok(status) => format!("HTTP {status}"),
                Err(error) => error.to_string(),
            };
            if attempt == ATTEMPTS {
                count("failed");
                tracing::warn!(failure, "a webhook was given up");
                break;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

async fn post(
    url: &str,
    signer: &Signer,
    text: &str,
) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let now = clock::now().wallclock;
    let claims = Claims {
        exp: Some(now + SIGNED_FOR),
        nbf: Some(now),
        sha256: Some(STANDARD.encode(Hash::Sha256.digest(text.as_bytes()))),
        ..Claims::default()
    };
    let headers = vec![
        (CONTENT_TYPE, "application/webhook+json".to_owned()),
        (AUTHORIZATION, signer.sign(claims)?),
    ];
    let answer = send(Asked {
        method: Method::POST,
        url,
        headers,
        body: text.as_bytes().to_vec(),
    });
    Ok(answer.await?.status)
}

fn count(outcome: &'static str) {
    metrics::counter!("twocan_webhooks_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let (way, mut events) = Way::new();
        let large: Arc<str> = "x".repeat(WAITING_LEN_MAX / 4).into();
        let taken = (0..WAITING_MAX).filter(|_| way.push(&large)).count();
        assert_eq!(taken, 4);
        assert!(!way.push(&"x".into()));
        let first = events.try_recv().unwrap();
        // It takes its place until it is done with.
        assert!(!way.push(&large));
        drop(first);
        assert!(way.push(&large));
    }
}
