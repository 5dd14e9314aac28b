//! Two terminals, or a terminal and the page `/copy-paste.html`: signaling by copy and paste.
//!
//! The caller prints an offer in one line. The callee is given it and prints an answer. The
//! caller is given that, and both write to each other.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use twocan::rooms::ChatMessage;
use twocan::{
    Configuration, ConnectionState, DataChannel, DataChannelEvent, DataChannelInit, IceServer,
    Message, PeerConnection, PeerConnectionEvent, SdpType, SessionDescription,
};

/// Writes to another terminal, or to the page /copy-paste.html, with signaling by copy and paste.
#[derive(Debug, Parser)]
struct Arguments {
    /// Whether to begin, or to be given an offer
    role: Role,
    /// STUN server, to be reached through a NAT: stun:host:port
    #[arg(long)]
    stun: Option<String>,
    /// Offer loopback addresses as well
    #[arg(long)]
    loopback: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Caller,
    Callee,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let outcome = tokio::runtime::Runtime::new()
        .map_err(Failure::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(Arguments::parse()));
            // A read of the terminal that nobody waits for any more would hold the program.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("chat: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let stun = arguments.stun.map(|url| IceServer {
        urls: vec![url],
        ..IceServer::default()
    });
    let connection = PeerConnection::new(Configuration {
        ice_servers: stun.into_iter().collect(),
        loopback_candidates: arguments.loopback,
        ..Configuration::default()
    })?;
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let channel = match arguments.role {
        Role::Caller => call(&connection, &mut input).await?,
        Role::Callee => be_called(&connection, &mut input).await?,
    };
    tokio::select! {
        written = chat(&channel, &mut input) => written?,
        reason = failed(&connection) => tell(&format!("The other side is gone: {reason}")),
    }
    connection.close();
    // The other side is told.
    connection.closed().await;
    Ok(())
}

async fn call(
    connection: &PeerConnection,
    input: &mut Lines<BufReader<Stdin>>,
) -> Result<DataChannel, Failure> {
    let channel = connection.create_data_channel("chat", DataChannelInit::default())?;
    connection.set_local_description(None)?;
    give(connection, "Give this to the other side:").await?;
    tell("Paste its answer:");
    let answer = read_description(input, SdpType::Answer).await?;
    connection.set_remote_description(answer)?;
    tokio::select! {
        opened = channel.opened() => opened?,
        failure = failed(connection) => return Err(failure),
    }
    Ok(channel)
}

async fn be_called(
    connection: &PeerConnection,
    input: &mut Lines<BufReader<Stdin>>,
) -> Result<DataChannel, Failure> {
    tell("Paste the offer of the other side:");
    let offer = read_description(input, SdpType::Offer).await?;
    connection.set_remote_description(offer)?;
    connection.set_local_description(None)?;
    give(connection, "Give this back:").await?;
    while let Some(event) = connection.next_event().await {
        match event {
            PeerConnectionEvent::DataChannel(channel) => return Ok(channel),
            PeerConnectionEvent::Failed(failure) => return Err(failure.into()),
            _ => {}
        }
    }
    Err("the connection was closed".into())
}

/// Why it failed, once it does.
async fn failed(connection: &PeerConnection) -> Failure {
    while let Some(event) = connection.next_event().await {
        match event {
            PeerConnectionEvent::Failed(failure) => return failure.into(),
            PeerConnectionEvent::ConnectionStateChange(ConnectionState::Closed) => break,
            _ => {}
        }
    }
    "the connection was closed".into()
}

/// Prints the own description once all candidates are in it.
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn give(connection: &PeerConnection, words: &str) -> Result<(), Failure> {
    let description = connection
        .gathered_description()
        .await
        .ok_or("there is no description")?;
    let kind = match description.kind {
        SdpType::Offer => "offer",
        _ => "answer",
    };
    tell(words);
    println!("{}", json!({"type": kind, "sdp": description.sdp}));
    Ok(())
}

/// Reads lines until one is a description of that kind; says what is wrong with others.
async fn read_description(
    input: &mut Lines<BufReader<Stdin>>,
    kind: SdpType,
) -> Result<SessionDescription, Failure> {
    let name = match kind {
        SdpType::Offer => "offer",
        _ => "answer",
    };
    while let Some(line) = input.next_line().await? {
        if line.trim().is_empty() {
            continue;
        }
        let Ok(value) = serde_json::from_str::<Value>(&line) else {
            tell("This is not the text of the other side: it is one line from { to }");
            continue;
        };
        let is_kind = value.get("type").and_then(Value::as_str) == Some(name);
        match value.get("sdp").and_then(Value::as_str) {
            Some(sdp) if is_kind => {
                let sdp = sdp.to_owned();
                return Ok(SessionDescription { kind, sdp });
            }
            _ => tell(&format!("This has no {name} in it")),
        }
    }
    Err(format!("the input ended before an {name} came").into())
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn chat(channel: &DataChannel, input: &mut Lines<BufReader<Stdin>>) -> Result<(), Failure> {
    tell("Connected. Write; end with Ctrl-D.");
    loop {
        tokio::select! {
            line = input.next_line() => match line? {
                Some(line) if line.trim().is_empty() => {}
                Some(line) => channel.send_text(ChatMessage::new(line).to_wire())?,
                None => break,
            },
            event = channel.next_event() => match event {
                Some(DataChannelEvent::Message(Message::Text(text))) => {
                    if let Some(message) = ChatMessage::read(&text) {
                        println!("They: {}", message.text);
                    }
                }
                Some(DataChannelEvent::Closed) | None => {
                    tell("The other side is gone.");
                    return Ok(());
                }
                Some(_) => {}
            },
        }
    }
    // What was written last is still on its way.
    channel.drained(0).await;
    Ok(())
}

/// Words for the person, apart from what is to be copied.
#[expect(clippy::print_stderr, reason = "a program for the terminal")]
fn tell(words: &str) {
    eprintln!("{words}");
}
