//! `twocan plot`: a picture of an event log, as SVG.

mod chart;
mod log;
mod panels;
mod svg;

use std::path::PathBuf;

use clap::Args;
use thiserror::Error;

use log::Log;

/// Draws an event log: rate, loss, delay and buffers over time.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What `--event-log` wrote
    log: PathBuf,
    /// The picture; default the log's name with .svg
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Which connection, where the log has several
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
}

/// Why there is no picture.
#[derive(Debug, Error)]
pub(crate) enum PlotError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("line {number} is not of an event log: {reason}")]
    Line { number: usize, reason: String },
    #[error("the log is empty")]
    Empty,
    #[error("the log is of several connections: say --connection with one of {0}")]
    Several(String),
    #[error("the log has no connection {wanted}, but {known}")]
    NoSuchConnection { wanted: String, known: String },
}

/// Reads the log and writes the picture.
pub(crate) fn run(arguments: &Arguments) -> Result<(), PlotError> {
    let path = &arguments.log;
    let read = |source| PlotError::Read {
        path: path.clone(),
        source,
    };
    let bytes = std::fs::read(path).map_err(read)?;
    let log = Log::parse(&bytes, arguments.connection.as_deref())?;
    let title = path.file_name().unwrap_or(path.as_os_str());
    let picture = panels::draw(&log, &title.to_string_lossy());
    let output = match &arguments.output {
        Some(output) => output.clone(),
        None => path.with_extension("svg"),
    };
    std::fs::write(&output, picture).map_err(|source| PlotError::Write {
        path: output,
        source,
    })
}
