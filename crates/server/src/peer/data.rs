//! Pings, echoes and bulk on a data channel.

use std::time::{Duration, Instant};

use twocan::{ByteStream, DataChannel, Message};

use super::result::{Outcome, milliseconds};

/// Longest ping, in bytes.
const PING_LEN_MAX: u32 = 16_000;

/// Bytes that bulk keeps waiting in the channel.
const BULK_AHEAD: usize = 4 << 20;

/// The last message of bulk, a text.
const BULK_END: &str = "end of bulk";

/// Sends messages one by one and expects each back.
pub(super) async fn ping(
    channel: &DataChannel,
    count: u32,
    outcome: &mut Outcome,
) -> Result<(), String> {
    channel.opened().await.map_err(|error| error.to_string())?;
    outcome.opened();
    let mut times = Vec::new();
    for number in 0..count {
        let message = ping_message(number, count);
        let sent_at = Instant::now();
        send(channel, message.clone())?;
        let back = channel.next_message().await.ok_or("the channel closed")?;
        if back != message {
            return Err(format!("message {number} came back changed"));
        }
        times.push(sent_at.elapsed());
        outcome.set("n", number + 1);
    }
    times.sort();
    if let Some(median) = times.get(times.len() / 2) {
        outcome.set("p50_ms", milliseconds(*median));
    }
    Ok(())
}

/// Sends everything back.
pub(super) async fn echo(
    channel: &DataChannel,
    count: u32,
    outcome: &mut Outcome,
) -> Result<(), String> {
    channel.opened().await.map_err(|error| error.to_string())?;
    outcome.opened();
    let mut stream = channel.detach().map_err(|error| error.to_string())?;
    for number in 0..count {
        if !echo_one(&mut stream).await? {
            return Err(format!("the channel closed after {number} messages"));
        }
        outcome.set("n", number + 1);
    }
    // The other side may send more than we were told.
    tokio::spawn(async move { while let Ok(true) = echo_one(&mut stream).await {} });
    Ok(())
}

/// Sends a message back, once there is room; answers whether there was one.
async fn echo_one(stream: &mut ByteStream) -> Result<bool, String> {
    let message = stream.read_message().await;
    let Some(message) = message.map_err(|error| error.to_string())? else {
        return Ok(false);
    };
    let sent = stream.write_message(&message).await;
    sent.map(|()| true).map_err(|error| error.to_string())
}

/// Sends in bulk and waits until all of it is on its way.
pub(super) async fn send_bulk(
    channel: &DataChannel,
    seconds: u64,
    size: usize,
    outcome: &mut Outcome,
) -> Result<(), String> {
    channel.opened().await.map_err(|error| error.to_string())?;
    outcome.opened();
    let started = Instant::now();
    let mut sent = 0u64;
    let mut messages = 0u64;
    while started.elapsed() < Duration::from_secs(seconds) {
        channel
            .send(vec![messages as u8; size])
            .map_err(|error| error.to_string())?;
        sent += size as u64;
        messages += 1;
        if channel.buffered_amount() >= BULK_AHEAD {
            channel.drained(BULK_AHEAD / 2).await;
        }
    }
    channel
        .send_text(BULK_END)
        .map_err(|error| error.to_string())?;
    // The other side confirms that it has everything.
    channel
        .next_message()
        .await
        .ok_or("the channel closed before the confirmation")?;
    outcome.set("n", messages);
    outcome.set(
        "bytes_per_s",
        (sent as f64 / started.elapsed().as_secs_f64()).round(),
    );
    Ok(())
}

/// Counts what arrives in bulk.
pub(super) async fn count(
    channel: &DataChannel,
    _seconds: u64,
    outcome: &mut Outcome,
) -> Result<(), String> {
    channel.opened().await.map_err(|error| error.to_string())?;
    outcome.opened();
    let mut started = None;
    let (mut received, mut messages) = (0u64, 0u64);
    loop {
        match channel.next_message().await.ok_or("the channel closed")? {
            Message::Text(text) if text == BULK_END => break,
            message => {
                started.get_or_insert_with(Instant::now);
                received += message.len() as u64;
                messages += 1;
            }
        }
    }
    channel
        .send_text(BULK_END)
        .map_err(|error| error.to_string())?;
    outcome.set("n", messages);
    if let Some(started) = started {
        outcome.set(
            "bytes_per_s",
            (received as f64 / started.elapsed().as_secs_f64()).round(),
        );
    }
    Ok(())
}

fn send(channel: &DataChannel, message: Message) -> Result<(), String> {
    match message {
        Message::Text(text) => channel.send_text(text),
        Message::Binary(bytes) => channel.send(bytes),
    }
    .map_err(|error| error.to_string())
}

/// Text and binary in turn, from one byte to 16 kB.
fn ping_message(number: u32, count: u32) -> Message {
    let len = 1 + (PING_LEN_MAX - 1) * number / count.max(2).saturating_sub(1);
    if number.is_multiple_of(2) {
        let letters = (0..len).map(|index| char::from(b'a' + ((index + number) % 26) as u8));
        Message::Text(letters.collect())
    } else {
        Message::Binary((0..len).map(|index| (index + number) as u8).collect())
    }
}
