//! A participant that plays files into a room: to everyone from the start, in real time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use twocan_proto::negotiate::Kind;

use super::activity::Activity;
use super::messages::Source;
use super::negotiation::until;
use super::peer::RoomPeer;
use super::room::{Room, RoomEvent};
use super::timeline::{Timed, Timeline};
use crate::files::{FileError, Format, FrameReader};
use crate::sender::{EncodedFrame, RtpSender};
use crate::transform;

/// Activities that wait for the one who watches; then what makes them waits.
const ACTIVITIES_MAX: usize = 64;

/// A key frame that was sent within this time answers a request for one: it is on its way.
const KEY_FRAME_AGAIN: Duration = Duration::from_millis(500);

/// After the last frame, before leaving: what is queued or lost can still be sent (again).
const LINGER: Duration = Duration::from_millis(500);

/// What is played, and how.
#[derive(Debug, Clone)]
pub struct PlayOptions {
    /// At most one file of sound and one of pictures.
    pub files: Vec<PathBuf>,
    /// Begins anew at the end. Default no.
    pub repeats: bool,
    /// The pace of H.264 byte streams, which have no times. Default 30.
    pub frames_per_second: u32,
}

/// Why files cannot be played.
#[derive(Debug, Error)]
pub enum PlayError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: FileError,
    },
    /// Two files for one line.
    #[error("{}: there is another file of {kind} already", path.display())]
    TwoOfAKind {
        /// The second one.
        path: PathBuf,
        /// What both carry.
        kind: Kind,
    },
    /// Nothing to play.
    #[error("no files to play")]
    NoFiles,
}

impl PlayOptions {
    /// Looks into the files; what each is sent as, for [`super::JoinOptions::publish`].
    ///
    /// # Errors
    /// [`PlayError`].
    pub fn sources(&self) -> Result<Vec<Source>, PlayError> {
        let mut sources = Vec::new();
        for path in &self.files {
            let source = source_of(self.open(path)?.format());
            if sources.contains(&source) {
                let (path, kind) = (path.clone(), source.kind());
                return Err(PlayError::TwoOfAKind { path, kind });
            }
            sources.push(source);
        }
        if sources.is_empty() {
            return Err(PlayError::NoFiles);
        }
        Ok(sources)
    }

    fn open(
        &self,
        path: &Path,
    ) -> Result<FrameReader<impl std::io::Read + std::io::Seek + use<>>, PlayError> {
        FrameReader::open(path, self.frames_per_second).map_err(|error| PlayError::File {
            path: path.to_owned(),
            error,
        })
    }
}

fn source_of(format: Format) -> Source {
    match format.kind() {
        Kind::Audio => Source::Microphone,
        Kind::Video => Source::Camera,
    }
}

/// Plays files to everyone in a room.
///
/// Each participant gets them from their start, once connected. It is over when all who were
/// there have got them to the end, at least one.
#[derive(Debug)]
pub struct Player {
    room: Room,
    options: PlayOptions,
    work: JoinSet<bool>,
    /// Whether anyone got everything.
    played: bool,
    tell: mpsc::Sender<Activity>,
    told: mpsc::Receiver<Activity>,
}

impl Player {
    /// Begins; it goes on while [`Self::next_activity`] is awaited. Join with
    /// [`PlayOptions::sources`].
    pub fn new(room: Room, options: PlayOptions) -> Self {
        let (tell, told) = mpsc::channel(ACTIVITIES_MAX);
        Self {
            room,
            options,
            work: JoinSet::new(),
            played: false,
            tell,
            told,
        }
    }

    /// The next thing that happens; `None` once all is played, or the room is over.
    pub async fn next_activity(&mut self) -> Option<Activity> {
        loop {
            tokio::select! {
                biased;
                Some(activity) = self.told.recv() => return Some(activity),
                Some(done) = self.work.join_next() => {
                    self.played |= matches!(done, Ok(true));
                    if self.played && self.work.is_empty() {
                        return self.told.try_recv().ok();
                    }
                }
                event = self.room.next_event() => {
                    let event = event?;
                    if let RoomEvent::PeerJoined(peer) = &event {
                        self.work.spawn(play(peer.clone(), self.options.clone(), self.tell.clone()));
                    }
                    return Some(Activity::Room(event));
                }
            }
        }
    }

    /// Leaves the room.
    pub async fn leave(self) {
        self.room.leave().await;
    }
}

/// Plays all files to one participant; whether to their end.
async fn play(peer: RoomPeer, options: PlayOptions, tell: mpsc::Sender<Activity>) -> bool {
    let mut ready = Vec::new();
    for path in &options.files {
        let trouble = |reason: String| Activity::Trouble {
            peer: peer.clone(),
            reason,
        };
        let reader = match options.open(path) {
            Ok(reader) => reader,
            Err(error) => {
                let _ = tell.send(trouble(error.to_string())).await;
                continue;
            }
        };
        let format = reader.format();
        let Some(line) = peer.line(source_of(format)).await else {
            return false;
        };
        if !line.sender().can_send().await {
            return false;
        }
        let codec = format.codec();
        if !line
            .codecs()
            .iter()
            .any(|one| one.name.eq_ignore_ascii_case(codec))
        {
            let reason = format!("does not take {codec}");
            let _ = tell.send(trouble(reason)).await;
            continue;
        }
        if peer.is_encrypted() && !transform::encrypts(codec) {
            let reason =
                format!("{codec} is not encrypted, which this room asks for: play VP8, VP9 or AV1");
            let _ = tell.send(trouble(reason)).await;
            continue;
        }
        let feed = Feed::start(Timeline::new(reader, options.repeats));
        ready.push((path.clone(), format, line, feed));
    }
    if ready.is_empty() {
        return false;
    }
    // All at once, so that sound and picture belong together.
    let start = Instant::now();
    let mut playing = JoinSet::new();
    for (path, format, line, feed) in ready {
        let (peer, tell) = (peer.clone(), tell.clone());
        playing.spawn(async move {
            let playing = Activity::Playing {
                peer: peer.clone(),
                path: path.clone(),
            };
            let _ = tell.send(playing).await;
            let (frames, outcome) = play_file(start, format, &line.sender(), feed).await;
            let activity = match outcome {
                Ok(true) => Activity::Played { peer, path, frames },
                Ok(false) => return false,
                Err(error) => {
                    let reason = format!("{}: {error}", path.display());
                    Activity::Trouble { peer, reason }
                }
            };
            let _ = tell.send(activity).await;
            true
        });
    }
    let mut all = true;
    while let Some(done) = playing.join_next().await {
        all &= matches!(done, Ok(true));
    }
    if all {
        tokio::time::sleep(LINGER).await;
    }
    all
}

/// Sends the frames when their time comes; how many, and whether to the end.
async fn play_file(
    start: Instant,
    format: Format,
    line: &RtpSender,
    mut feed: Feed,
) -> (u64, Result<bool, FileError>) {
    let mut frames = 0;
    let mut wants_key = false;
    let mut key_at: Option<Instant> = None;
    loop {
        let is_recent = key_at.is_some_and(|at| at.elapsed() < KEY_FRAME_AGAIN);
        let from_key = std::mem::take(&mut wants_key) && !is_recent;
        let timed = match feed.next(from_key).await {
            Ok(Some(timed)) => timed,
            Ok(None) => return (frames, Ok(true)),
            Err(error) => return (frames, Err(error)),
        };
        let due = start + ticks(timed.time, format.clock_rate());
        loop {
            tokio::select! {
                biased;
                wanted = line.key_frame_wanted() => match wanted {
                    true => wants_key = format.kind() == Kind::Video,
                    false => return (frames, Ok(false)),
                },
                () = until(Some(due)) => break,
            }
        }
        if timed.frame.key_frame {
            key_at = Some(Instant::now());
        }
        let sent = line.send_frame(EncodedFrame {
            codec: format.codec(),
            // Wraps after half a day, as RTP's clock does.
            timestamp: timed.time as u32,
            data: &timed.frame.data,
            ..EncodedFrame::default()
        });
        match sent {
            Ok(()) => frames += 1,
            Err(error) => {
                tracing::debug!(%error, "frame not sent");
                wants_key = format.kind() == Kind::Video;
            }
        }
    }
}

fn ticks(count: u64, clock_rate: u32) -> Duration {
    let rate = u64::from(clock_rate.max(1));
    let nanos = (count % rate) * 1_000_000_000 / rate;
    Duration::from_secs(count / rate) + Duration::from_nanos(nanos)
}

/// Reads a file on a thread for blocking work, one frame for each request.
struct Feed {
    requests: mpsc::Sender<bool>,
    frames: mpsc::Receiver<Result<Option<Timed>, FileError>>,
}

impl Feed {
    fn start<R: std::io::Read + std::io::Seek + Send + 'static>(mut timeline: Timeline<R>) -> Self {
        let (requests, mut requested) = mpsc::channel(1);
        let (found, frames) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            while let Some(from_key) = requested.blocking_recv() {
                if found.blocking_send(timeline.next(from_key)).is_err() {
                    return;
                }
            }
        });
        Self { requests, frames }
    }

    async fn next(&mut self, from_key: bool) -> Result<Option<Timed>, FileError> {
        if self.requests.send(from_key).await.is_err() {
            return Ok(None);
        }
        self.frames.recv().await.unwrap_or(Ok(None))
    }
}
