//! `twocan room` and `twocan participant`: the administration's API on the command line. Answers
//! are printed as they come, in JSON.

use clap::{Args, Subcommand};
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use thiserror::Error;

use crate::requests::{Asked, RequestError, send};

/// Where the server is, and what it is shown.
#[derive(Debug, Args)]
struct Server {
    /// Address of the server.
    #[arg(
        long,
        value_name = "URL",
        env = "TWOCAN_URL",
        default_value = "http://localhost:8080"
    )]
    server: String,
    /// The operator's secret, or a token with the grant that is needed.
    #[arg(long, env = "TWOCAN_ADMIN_TOKEN", hide_env_values = true)]
    token: String,
}

/// Rooms of a running server.
#[derive(Debug, Args)]
pub(crate) struct RoomCommand {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    task: RoomTask,
}

#[derive(Debug, Subcommand)]
enum RoomTask {
    /// List all rooms.
    List,
    /// Make a room.
    Create {
        /// Its name.
        room: String,
        /// Participants at most.
        #[arg(long)]
        max_participants: Option<usize>,
        /// Seconds that it stays while nobody is in it. Default 300.
        #[arg(long, value_name = "SECONDS")]
        empty_timeout: Option<u64>,
        /// Nobody may join who may not moderate.
        #[arg(long)]
        locked: bool,
        /// Who comes waits to be admitted.
        #[arg(long)]
        lobby: bool,
        /// How its media goes: mesh, sfu or auto. Default as the server has it.
        #[arg(long, value_name = "SHAPE")]
        topology: Option<String>,
        /// Codec for pictures that the server passes on in it: vp8, h264, vp9 or av1, the preferred
        /// one first. Default all. May be repeated.
        #[arg(long, value_name = "CODEC", value_delimiter = ',')]
        video_codec: Vec<String>,
        /// Messages to everybody that it keeps for those who come later, up to 1000. Default as the
        /// server has it.
        #[arg(long, value_name = "N")]
        chat_history: Option<usize>,
    },
    /// Send all away and end a room.
    Close {
        /// Its name.
        room: String,
        /// What they are told.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let nobody join any more who may not moderate.
    Lock {
        /// Its name.
        room: String,
    },
    /// Let people join again.
    Unlock {
        /// Its name.
        room: String,
    },
    /// Say something to all, as the event `announcement`.
    Announce {
        /// Its name.
        room: String,
        /// A text.
        text: String,
    },
}

/// Participants of a running server's rooms.
#[derive(Debug, Args)]
pub(crate) struct ParticipantCommand {
    #[command(flatten)]
    server: Server,
    /// The room.
    #[arg(long)]
    room: String,
    #[command(subcommand)]
    task: ParticipantTask,
}

#[derive(Debug, Subcommand)]
enum ParticipantTask {
    /// List those who are in the room, and those who wait for it.
    List,
    /// Remove somebody.
    Remove {
        /// Its id.
        id: String,
        /// What it is told.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Mute somebody's tracks: all, or those of a source.
    Mute {
        /// Its id.
        id: String,
        /// microphone, camera, screen or screen-audio.
        #[arg(long)]
        source: Option<String>,
    },
    /// Change what somebody may do.
    Permit {
        /// Its id.
        id: String,
        /// JSON such as {"publish":false}.
        change: String,
    },
    /// Let in somebody who waits.
    Admit {
        /// Its id.
        id: String,
    },
    /// Send away somebody who waits.
    Deny {
        /// Its id.
        id: String,
    },
}

/// Why it was not done.
#[derive(Debug, Error)]
pub(crate) enum AdministerError {
    /// No answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The server does not.
    #[error("{status}: {why}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        why: String,
    },
    /// What was to be JSON is none.
    #[error("the change is no JSON")]
    Change(#[source] serde_json::Error),
    /// Anything of the system.
    #[error("the system refused")]
    System(#[from] std::io::Error),
}

/// Does something with rooms.
///
/// # Errors
/// The [`AdministerError`].
pub(crate) fn rooms(command: &RoomCommand) -> Result<(), AdministerError> {
    let (method, room, more, body) = match &command.task {
        RoomTask::List => (Method::GET, None, String::new(), None),
        RoomTask::Create {
            room,
            max_participants,
            empty_timeout,
            locked,
            lobby,
            topology,
            video_codec,
            chat_history,
        } => {
            let mut body = json!({"name": room, "locked": locked});
            let numbers = [
                ("max_participants", max_participants.map(|own| json!(own))),
                ("empty_timeout", empty_timeout.map(|own| json!(own))),
                ("lobby", lobby.then(|| json!(true))),
                ("chat_history", chat_history.map(|own| json!(own))),
                ("topology", topology.as_ref().map(|own| json!(own))),
                (
                    "video_codecs",
                    (!video_codec.is_empty()).then(|| json!(video_codec)),
                ),
            ];
            for (name, value) in numbers {
                if let Some(value) = value {
                    body[name] = value;
                }
            }
            (Method::POST, None, String::new(), Some(body))
        }
        RoomTask::Close { room, reason } => {
            (Method::DELETE, Some(room), query(reason.as_deref()), None)
        }
        RoomTask::Lock { room } => {
            let body = json!({"locked": true});
            (Method::PATCH, Some(room), String::new(), Some(body))
        }
        RoomTask::Unlock { room } => {
            let body = json!({"locked": false});
            (Method::PATCH, Some(room), String::new(), Some(body))
        }
        RoomTask::Announce { room, text } => {
            let body = json!({"data": {"text": text}});
            (Method::POST, Some(room), "/data".into(), Some(body))
        }
    };
    let room = room.map_or(String::new(), |room| format!("/{}", encoded(room)));
    ask(&command.server, method, &format!("{room}{more}"), body)
}

/// Does something with participants.
///
/// # Errors
/// The [`AdministerError`].
pub(crate) fn participants(command: &ParticipantCommand) -> Result<(), AdministerError> {
    let (method, id, more, body) = match &command.task {
        ParticipantTask::List => (Method::GET, None, String::new(), None),
        ParticipantTask::Remove { id, reason } => {
            (Method::DELETE, Some(id), query(reason.as_deref()), None)
        }
        ParticipantTask::Mute { id, source } => {
            let body = match source {
                None => json!({"muted": true}),
                Some(source) => json!({"muted": true, "source": source}),
            };
            (Method::POST, Some(id), "/mute".into(), Some(body))
        }
        ParticipantTask::Permit { id, change } => {
            let body = serde_json::from_str(change).map_err(AdministerError::Change)?;
            (Method::PATCH, Some(id), String::new(), Some(body))
        }
        ParticipantTask::Admit { id } => (Method::POST, Some(id), "/admit".into(), None),
        ParticipantTask::Deny { id } => (Method::POST, Some(id), "/deny".into(), None),
    };
    let id = id.map_or(String::new(), |id| format!("/{}", encoded(id)));
    let path = format!("/{}/participants{id}{more}", encoded(&command.room));
    ask(&command.server, method, &path, body)
}

fn query(reason: Option<&str>) -> String {
    reason.map_or(String::new(), |reason| {
        format!("?reason={}", encoded(reason))
    })
}

/// RFC 3986 §2.1: all but unreserved characters.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[expect(clippy::print_stdout, reason = "what the command is for")]
fn ask(
    server: &Server,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(), AdministerError> {
    let url = format!("{}/api/v1/rooms{path}", server.server.trim_end_matches('/'));
    let mut headers = vec![(AUTHORIZATION, format!("Bearer {}", server.token))];
    if body.is_some() {
        headers.push((CONTENT_TYPE, "application/json".to_owned()));
    }
    let asked = Asked {
        method,
        url: &url,
        headers,
        body: body.map_or(Vec::new(), |body| body.to_string().into_bytes()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(send(asked))?;
    let text = String::from_utf8_lossy(&answer.body);
    if !(200..300).contains(&answer.status) {
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        let why = told["error"].as_str().unwrap_or(text.trim());
        return Err(AdministerError::Refused {
            status: answer.status,
            why: why.to_owned(),
        });
    }
    if !text.is_empty() {
        println!("{text}");
    }
    Ok(())
}
