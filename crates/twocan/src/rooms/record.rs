//! A participant that records everyone: a file for each track.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use twocan_proto::negotiate::Kind;

use super::activity::Activity;
use super::peer::RoomPeer;
use super::room::{Room, RoomEvent};
use crate::files::{FileError, Format, FrameWriter};
use crate::receiver::Frame;
use crate::transceiver::{RtpTransceiver, TrackEvent};

/// Activities that wait for the one who watches; then what makes them waits.
const ACTIVITIES_MAX: usize = 64;

/// Frames that wait for the disk; then the track's own queue grows, which drops the oldest.
const FRAMES_MAX: usize = 64;

/// Files with one name that are tried for a free one.
const NAMES_MAX: u32 = 10_000;

/// Records everyone in a room.
#[derive(Debug)]
pub struct Recorder {
    room: Room,
    folder: PathBuf,
    work: JoinSet<()>,
    tell: mpsc::Sender<Activity>,
    told: mpsc::Receiver<Activity>,
}

impl Recorder {
    /// Records into `folder`, which is made where it is missing; it goes on while
    /// [`Self::next_activity`] is awaited.
    ///
    /// # Errors
    /// What the system says about the folder.
    pub async fn new(room: Room, folder: PathBuf) -> std::io::Result<Self> {
        let made = folder.clone();
        let outcome = tokio::task::spawn_blocking(move || std::fs::create_dir_all(made)).await;
        outcome.map_err(std::io::Error::other)??;
        let (tell, told) = mpsc::channel(ACTIVITIES_MAX);
        Ok(Self {
            room,
            folder,
            work: JoinSet::new(),
            tell,
            told,
        })
    }

    /// The next thing that happens; `None` once the room is over and all files are complete.
    pub async fn next_activity(&mut self) -> Option<Activity> {
        loop {
            tokio::select! {
                biased;
                Some(activity) = self.told.recv() => return Some(activity),
                Some(_) = self.work.join_next() => {}
                event = self.room.next_event() => match event {
                    Some(event) => {
                        self.take(&event);
                        return Some(Activity::Room(event));
                    }
                    None if self.work.is_empty() => return self.told.try_recv().ok(),
                    None => {
                        self.work.join_next().await;
                    }
                }
            }
        }
    }

    /// Leaves the room and completes the files; what was recorded last.
    pub async fn leave(self) -> Vec<Activity> {
        let Self {
            room,
            mut work,
            tell,
            mut told,
            ..
        } = self;
        room.leave().await;
        drop(tell);
        let mut last = Vec::new();
        while let Some(activity) = told.recv().await {
            last.push(activity);
        }
        while work.join_next().await.is_some() {}
        last
    }

    fn take(&mut self, event: &RoomEvent) {
        if let RoomEvent::Track { peer, track } = event {
            let record = record(
                peer.clone(),
                track.clone(),
                self.folder.clone(),
                self.tell.clone(),
            );
            self.work.spawn(record);
        }
    }
}

/// Records one track, in a file for each codec that it goes through.
async fn record(peer: RoomPeer, track: TrackEvent, folder: PathBuf, tell: mpsc::Sender<Activity>) {
    let line = track.transceiver;
    let receiver = line.receiver();
    if line.kind() == Some(Kind::Video) {
        receiver.request_key_frame();
    }
    let mut next = receiver.next_frame().await;
    while let Some(frame) = next {
        let Some(format) = Format::for_codec(&frame.codec) else {
            let reason = format!("{} cannot be recorded", frame.codec);
            let peer = peer.clone();
            let _ = tell.send(Activity::Trouble { peer, reason }).await;
            return;
        };
        next = record_file(&peer, &line, &folder, (frame, format), &tell).await;
    }
}

/// Records up to the end or the first frame of another codec, which is handed back.
async fn record_file(
    peer: &RoomPeer,
    line: &RtpTransceiver,
    folder: &Path,
    (first, format): (Frame, Format),
    tell: &mpsc::Sender<Activity>,
) -> Option<Frame> {
    let receiver = line.receiver();
    let stem = format!("{}-{}", file_name(peer), line.mid().unwrap_or_default());
    let folder = folder.to_owned();
    let (frames, mut frames_in) = mpsc::channel::<Frame>(FRAMES_MAX);
    let (began, begun) = tokio::sync::oneshot::channel();
    let writing = tokio::task::spawn_blocking(move || -> Result<_, FileError> {
        let (path, mut writer) = create(&folder, &stem, format)?;
        let _ = began.send(path.clone());
        while let Some(frame) = frames_in.blocking_recv() {
            writer.write(&frame)?;
        }
        let count = writer.frames();
        writer.finish()?;
        Ok((path, count))
    });
    if let Ok(path) = begun.await {
        let peer = peer.clone();
        let _ = tell.send(Activity::Recording { peer, path }).await;
    }
    let mut current = Some(first);
    let mut has_key = false;
    while let Some(frame) = current.take_if(|frame| Format::for_codec(&frame.codec) == Some(format))
    {
        // As the writer does.
        has_key = frame.key_frame || (has_key && frame.decodable);
        if !has_key {
            receiver.request_key_frame();
        }
        if frames.send(frame).await.is_err() {
            break;
        }
        current = receiver.next_frame().await;
    }
    drop(frames);
    let activity = match writing.await {
        Ok(Ok((path, frames))) => Activity::Recorded { path, frames },
        Ok(Err(error)) => {
            let (peer, reason) = (peer.clone(), format!("recording ended: {error}"));
            let _ = tell.send(Activity::Trouble { peer, reason }).await;
            return None;
        }
        Err(_) => return None,
    };
    let _ = tell.send(activity).await;
    current
}

/// A file of that name, or with a number behind it where there is one already.
fn create(
    folder: &Path,
    stem: &str,
    format: Format,
) -> Result<(PathBuf, FrameWriter<std::io::BufWriter<std::fs::File>>), FileError> {
    let mut last = None;
    for number in 1..=NAMES_MAX {
        let suffix = match number {
            1 => String::new(),
            number => format!("-{number}"),
        };
        let path = folder.join(format!("{stem}{suffix}.{}", format.extension()));
        match FrameWriter::create(&path, format) {
            Ok(writer) => return Ok((path, writer)),
            Err(FileError::Io(error)) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(last
        .unwrap_or_else(|| std::io::ErrorKind::AlreadyExists.into())
        .into())
}

/// Name and id of a participant, with nothing that a path could mean.
fn file_name(peer: &RoomPeer) -> String {
    let plain = |text: &str, len: usize| -> String {
        let kept = text
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-');
        kept.take(len).collect()
    };
    let (name, id) = (plain(&peer.name(), 40), plain(peer.id(), 8));
    if name.is_empty() {
        id
    } else {
        format!("{name}-{id}")
    }
}
