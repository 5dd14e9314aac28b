//! `twocan token`: tokens on the command line.

use std::time::Duration;

use clap::{Args, Subcommand};
use thiserror::Error;
use twocan_io::clock;
use twocan_proto::random::Random;

use super::{Claims, Grant, KeyError, Signer};

/// Tokens that let people into rooms.
#[derive(Debug, Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make a token and print it.
    Create(Box<Create>),
}

/// What a token is to say.
#[derive(Debug, Args)]
struct Create {
    /// The key, as the server has it: ID:HS256:SECRET, or ID:ES256:FILE and ID:EdDSA:FILE with a
    /// private key in PEM (PKCS #8).
    #[arg(
        long,
        value_name = "ID:ALGORITHM:SECRET-OR-FILE",
        env = "TWOCAN_TOKEN_KEY",
        hide_env_values = true
    )]
    key: String,
    /// The room that may be joined. Without one the token joins none.
    #[arg(long)]
    room: Option<String>,
    /// Who it is.
    #[arg(long)]
    identity: Option<String>,
    /// What the others call it.
    #[arg(long)]
    name: Option<String>,
    /// What the others are told of it: JSON, or any text.
    #[arg(long)]
    metadata: Option<String>,
    /// Seconds that it is valid.
    #[arg(long, value_name = "SECONDS", default_value_t = 6 * 3600)]
    ttl: u64,
    /// May send nothing.
    #[arg(long)]
    no_publish: bool,
    /// May send this alone: microphone, camera, screen_share, screen_share_audio. May be repeated.
    #[arg(long = "publish-source", value_name = "SOURCE", value_parser = source)]
    publish_sources: Vec<String>,
    /// Gets nothing of what others send.
    #[arg(long)]
    no_subscribe: bool,
    /// May say nothing to others.
    #[arg(long)]
    no_data: bool,
    /// May change its own name and metadata.
    #[arg(long)]
    own_metadata: bool,
    /// May moderate the room.
    #[arg(long)]
    admin: bool,
    /// May record the room.
    #[arg(long)]
    record: bool,
    /// Nobody is told of it.
    #[arg(long)]
    hidden: bool,
    /// May list rooms through the administration's API.
    #[arg(long)]
    list_rooms: bool,
    /// May make and close rooms through the administration's API.
    #[arg(long)]
    create_rooms: bool,
}

/// Why there is no token.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key does not sign.
    #[error("the key does not sign")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

fn source(name: &str) -> Result<String, String> {
    match twocan_room::Source::named(name) {
        Some(_) => Ok(name.to_owned()),
        None => Err("one of microphone, camera, screen_share, screen_share_audio".into()),
    }
}

/// Does what is asked for.
///
/// # Errors
/// The [`CommandError`].
#[expect(clippy::print_stdout, reason = "what the command is for")]
pub(crate) fn run(command: &Command) -> Result<(), CommandError> {
    match &command.task {
        Task::Create(create) => println!("{}", create.token()?),
    }
    Ok(())
}

impl Create {
    fn token(&self) -> Result<String, CommandError> {
        let signer = Signer::read(&self.key)?;
        let now = clock::now().wallclock;
        let mut random = Random::new(clock::seed());
        let sources = self.publish_sources.clone();
        let no = |denied: bool| denied.then_some(false);
        let parsed = |text: &String| serde_json::from_str(text).ok();
        let metadata = |text: &String| parsed(text).unwrap_or_else(|| text.clone().into());
        let claims = Claims {
            iss: None,
            sub: self.identity.clone(),
            jti: Some(random.ice_chars(22)),
            exp: Some(now.saturating_add(Duration::from_secs(self.ttl))),
            nbf: Some(now),
            iat: Some(now),
            name: self.name.clone(),
            metadata: self.metadata.as_ref().map(metadata),
            sha256: None,
            video: Grant {
                room: self.room.clone(),
                room_join: self.room.is_some(),
                room_admin: self.admin,
                room_create: self.create_rooms,
                room_list: self.list_rooms,
                room_record: self.record,
                can_publish: no(self.no_publish),
                can_publish_sources: (!sources.is_empty()).then_some(sources),
                can_subscribe: no(self.no_subscribe),
                can_publish_data: no(self.no_data),
                can_update_own_metadata: self.own_metadata.then_some(true),
                hidden: self.hidden,
            },
        };
        Ok(signer.sign(claims)?)
    }
}
