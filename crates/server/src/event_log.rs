//! `--event-log FILE`: what connections decided, a line each, for `twocan plot`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::task::JoinHandle;
use twocan::PeerConnection;

/// The file cannot be made.
#[derive(Debug, Error)]
#[error("cannot make the event log {}", path.display())]
pub(crate) struct CannotLog {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// A file that takes the logs of any number of connections.
#[derive(Debug, Clone)]
pub(crate) struct EventLog(Arc<File>);

impl EventLog {
    /// Makes the file, or empties it.
    pub(crate) fn create(path: &Path) -> Result<Self, CannotLog> {
        let file = File::create(path).map_err(|source| CannotLog {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(Arc::new(file)))
    }

    /// Writes what a connection tells until it is over. Where there are several, each has a name.
    pub(crate) fn follow(&self, peer: PeerConnection, name: Option<String>) -> JoinHandle<()> {
        let file = Arc::clone(&self.0);
        tokio::spawn(async move {
            while let Some(entry) = peer.next_log_entry().await {
                let line = with_name(&entry.to_string(), name.as_deref());
                // One write a line, so that those of several connections do not mix.
                if let Err(error) = (&*file).write_all(line.as_bytes()) {
                    tracing::warn!(%error, "the event log ends");
                    return;
                }
            }
        })
    }
}

/// The line, with the connection's name as its first member.
fn with_name(line: &str, name: Option<&str>) -> String {
    match (name, line.strip_prefix('{')) {
        (Some(name), Some(rest)) => {
            let name = serde_json::Value::from(name);
            format!("{{\"connection\":{name},{rest}\n")
        }
        _ => format!("{line}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_name_its_connection() {
        let line = r#"{"t":1.0,"event":"anew"}"#;
        assert_eq!(with_name(line, None), format!("{line}\n"));
        let named = with_name(line, Some("a\"b"));
        let value: serde_json::Value = serde_json::from_str(&named).unwrap();
        assert_eq!(value["connection"], "a\"b");
        assert_eq!(value["event"], "anew");
    }
}
