//! Answers a browser, or any peer that has descriptions, without negotiating: its parameters are
//! picked out of the offer by hand, ours are set by hand, and the answer is a text that says so.
//! Messages, sound and pictures are sent back.
//!
//! The offer comes as one JSON line `{"type","sdp"}` on standard input, with all candidates; the
//! answer goes out in the same way, and at the end a line `RESULT {json}`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use tokio::io::{AsyncBufReadExt, BufReader};
use twocan::ortc::{
    DtlsFingerprint, DtlsParameters, DtlsRole, DtlsTransport, IceCandidate, IceGatherer,
    IceParameters, IceTransport, RtcpFeedback, RtpCodecParameters, RtpEncodingParameters,
    RtpParameters, RtpReceiver, RtpSender, SctpCapabilities, SctpTransport,
};
use twocan::{
    Configuration, Delivery, HeaderExtensionParameters, IceRole, Kind, Message, OutgoingPacket,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Answers an offer on standard input, and sends everything back.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which side to be: `answer`
    #[arg(value_parser = ["answer"])]
    side: String,
    /// Wait for sound and pictures as well
    #[arg(long)]
    media: bool,
    /// Messages that are awaited
    #[arg(long, default_value_t = 200)]
    pings: u64,
    /// How long it may take, in seconds
    #[arg(long, default_value_t = 40)]
    timeout: u64,
    /// The codec of pictures
    #[arg(long, default_value = "vp8")]
    video: String,
}

/// A section of the offer, by its lines.
struct Section<'a> {
    kind: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Section<'a> {
    /// The sections of a description, after what stands before them.
    fn of(sdp: &'a str) -> Vec<Self> {
        let mut sections = vec![Self {
            kind: "session",
            lines: Vec::new(),
        }];
        for line in sdp.lines() {
            if let Some(media) = line.strip_prefix("m=") {
                let kind = media.split(' ').next().unwrap_or_default();
                sections.push(Self {
                    kind,
                    lines: Vec::new(),
                });
            }
            if let Some(section) = sections.last_mut() {
                section.lines.push(line);
            }
        }
        sections
    }

    /// The values of an attribute.
    fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a str> + 'b {
        let lines = self.lines.iter().filter_map(|line| line.strip_prefix("a="));
        lines.filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':'))
    }

    fn one(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// What an attribute says of a payload type.
    fn of_payload(&self, name: &str, payload_type: u8) -> Vec<&'a str> {
        let own = payload_type.to_string();
        let values = self.all(name).filter_map(|value| value.split_once(' '));
        let own = values.filter(|(number, _)| *number == own || *number == "*");
        own.map(|(_, value)| value).collect()
    }

    /// The codec of a name, with its retransmissions.
    fn codecs(&self, name: &str) -> Option<Vec<RtpCodecParameters>> {
        let maps: Vec<(u8, Vec<&str>)> = self
            .all("rtpmap")
            .filter_map(|map| {
                let (number, codec) = map.split_once(' ')?;
                Some((number.parse().ok()?, codec.split('/').collect()))
            })
            .collect();
        let codec = |(number, parts): &(u8, Vec<&str>)| {
            let feedback = self.of_payload("rtcp-fb", *number).into_iter();
            Some(RtpCodecParameters {
                mime_type: format!("{}/{}", self.kind, parts.first()?),
                payload_type: *number,
                clock_rate: parts.get(1)?.parse().ok()?,
                channels: parts.get(2).and_then(|own| own.parse().ok()),
                sdp_fmtp_line: self.of_payload("fmtp", *number).concat(),
                rtcp_feedback: feedback.map(RtcpFeedback::from_sdp).collect(),
            })
        };
        let all: Vec<RtpCodecParameters> = maps.iter().filter_map(codec).collect();
        let own = all
            .iter()
            .find(|own| own.name().eq_ignore_ascii_case(name))?;
        let apt = format!("apt={}", own.payload_type);
        let rtx = all.iter().find(|other| other.sdp_fmtp_line == apt);
        Some(std::iter::once(own).chain(rtx).cloned().collect())
    }

    /// What the other side sends here, which is also how it wants to be sent to.
    fn parameters(&self, codec: &str) -> Option<RtpParameters> {
        let extensions = self.all("extmap").filter_map(|own| {
            let (id, uri) = own.split_once(' ')?;
            let known = [
                "sdes:mid",
                "abs-send-time",
                "transport-wide-cc-extensions-01",
            ];
            let uri = uri.split(' ').next()?;
            known.iter().find(|own| uri.ends_with(*own))?;
            Some(HeaderExtensionParameters {
                uri: uri.to_owned(),
                id: id.split('/').next()?.parse().ok()?,
            })
        });
        Some(RtpParameters {
            mid: self.one("mid").map(str::to_owned),
            codecs: self.codecs(codec)?,
            header_extensions: extensions.collect(),
            ..RtpParameters::default()
        })
    }

    /// The sources that the other side names.
    fn encodings(&self) -> Vec<RtpEncodingParameters> {
        let number = |own: &str| own.split(' ').next()?.parse::<u32>().ok();
        let mut sources: Vec<u32> = self.all("ssrc").filter_map(number).collect();
        sources.dedup();
        let group = self
            .all("ssrc-group")
            .find_map(|own| own.strip_prefix("FID "));
        let rtx = group.and_then(|own| own.split(' ').nth(1)?.parse().ok());
        let first = sources.first().map(|ssrc| RtpEncodingParameters {
            ssrc: Some(*ssrc),
            rtx,
            ..RtpEncodingParameters::default()
        });
        first.into_iter().collect()
    }
}

/// What came so far.
#[derive(Default)]
struct Counts {
    messages: AtomicU64,
    sounds: AtomicU64,
    pictures: AtomicU64,
}

/// Sends back what comes of a section, and answers with the lines that say how.
fn mirror(
    section: &Section<'_>,
    kind: Kind,
    codec: &str,
    dtls: &DtlsTransport,
    counts: &Arc<Counts>,
) -> Result<Option<String>, Failure> {
    let Some(parameters) = section.parameters(codec) else {
        return Ok(None);
    };
    let receiver = RtpReceiver::new(kind, dtls)?;
    receiver.receive(&RtpParameters {
        encodings: section.encodings(),
        ..parameters.clone()
    })?;
    receiver.track().set_delivery(Delivery::Packets);
    let sender = RtpSender::new(kind, dtls)?;
    sender.send(&parameters)?;
    let sent = sender.parameters().unwrap_or_default();

    let (wished, asked) = (sender.clone(), receiver.clone());
    tokio::spawn(async move {
        while wished.track().key_frame_wanted().await {
            asked.track().request_key_frame();
        }
    });
    let counts = Arc::clone(counts);
    tokio::spawn(async move {
        while let Some(packet) = receiver.track().next_packet().await {
            match kind {
                Kind::Audio => counts.sounds.fetch_add(1, Ordering::Relaxed),
                Kind::Video => counts
                    .pictures
                    .fetch_add(packet.marker.into(), Ordering::Relaxed),
            };
            let outgoing = OutgoingPacket {
                codec: &packet.codec,
                timestamp: packet.timestamp,
                marker: packet.marker,
                payload: &packet.payload,
                ..OutgoingPacket::default()
            };
            // Before there are keys, and when nobody listens any more, it is left out.
            let _ = sender.track().send_packet(outgoing);
        }
    });
    Ok(Some(lines(section, &sent)))
}

/// What an answer says of parameters of ours.
fn lines(section: &Section<'_>, sent: &RtpParameters) -> String {
    let numbers: Vec<String> = sent
        .codecs
        .iter()
        .map(|own| own.payload_type.to_string())
        .collect();
    let mut text = format!(
        "m={} 9 UDP/TLS/RTP/SAVPF {}\r\na=sendrecv\r\na=rtcp-mux\r\na=msid:back {}\r\n",
        section.kind,
        numbers.join(" "),
        section.kind,
    );
    for own in &sent.codecs {
        let number = own.payload_type;
        let channels = own
            .channels
            .map(|own| format!("/{own}"))
            .unwrap_or_default();
        text += &format!(
            "a=rtpmap:{number} {}/{}{channels}\r\n",
            own.name(),
            own.clock_rate
        );
        if !own.sdp_fmtp_line.is_empty() {
            text += &format!("a=fmtp:{number} {}\r\n", own.sdp_fmtp_line);
        }
        for own in &own.rtcp_feedback {
            text += format!("a=rtcp-fb:{number} {} {}", own.kind, own.parameter).trim_end();
            text += "\r\n";
        }
    }
    for own in &sent.header_extensions {
        text += &format!("a=extmap:{} {}\r\n", own.id, own.uri);
    }
    for own in &sent.encodings {
        let sources = [own.ssrc, own.rtx];
        if let [Some(ssrc), Some(rtx)] = sources {
            text += &format!("a=ssrc-group:FID {ssrc} {rtx}\r\n");
        }
        for ssrc in sources.into_iter().flatten() {
            text += &format!("a=ssrc:{ssrc} cname:{}\r\n", sent.rtcp.cname);
        }
    }
    text
}

/// Starts everything, and answers with the text of the answer.
async fn answer(
    offer: &str,
    arguments: &Arguments,
    gatherer: &IceGatherer,
    counts: &Arc<Counts>,
) -> Result<(String, SctpTransport), Failure> {
    let sections = Section::of(offer);
    let one = |name: &str| sections.iter().find_map(|own| own.one(name));
    let ice = IceTransport::new(gatherer);
    gatherer.gather()?;
    let remote = IceParameters {
        username_fragment: one("ice-ufrag").ok_or("no ice-ufrag")?.to_owned(),
        password: one("ice-pwd").ok_or("no ice-pwd")?.to_owned(),
        ice_lite: offer.contains("\na=ice-lite"),
    };
    // Who offers controls (RFC 8445 §6.1.1).
    ice.start(&remote, IceRole::Controlled)?;
    for candidate in sections.iter().flat_map(|own| own.all("candidate")) {
        // Those of components and protocols that nobody uses are not read.
        if let Ok(candidate) = candidate.parse::<IceCandidate>() {
            ice.add_remote_candidate(Some(&candidate))?;
        }
    }
    let dtls = DtlsTransport::new(&ice);
    let fingerprints = sections.iter().flat_map(|own| own.all("fingerprint"));
    let fingerprints = fingerprints.filter_map(|own| own.split_once(' '));
    dtls.start(&DtlsParameters {
        // The offer leaves the choice to us; our answer says `active`.
        role: DtlsRole::Server,
        fingerprints: fingerprints
            .map(|(algorithm, value)| DtlsFingerprint {
                algorithm: algorithm.to_owned(),
                value: value.to_owned(),
            })
            .collect(),
    })?;

    let ours = gatherer.local_parameters();
    let transport = format!(
        "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=setup:active\r\n",
        ours.username_fragment, ours.password,
    );
    let own = dtls.local_parameters().fingerprints.into_iter();
    let own = own.map(|own| format!("a=fingerprint:{} {}\r\n", own.algorithm, own.value));
    let transport = transport + &own.collect::<String>();
    let candidates = gatherer.gathered().await.into_iter();
    let candidates = candidates
        .map(|own| format!("a={own}\r\n"))
        .collect::<String>();

    let transport = Lines {
        transport,
        candidates,
    };
    sections_of_answer(&sections, &arguments.video, &dtls, &transport, counts)
}

/// What each section of the answer has.
struct Lines {
    transport: String,
    candidates: String,
}

/// Starts what runs on the transport, and answers with the whole text.
fn sections_of_answer(
    sections: &[Section<'_>],
    codec: &str,
    dtls: &DtlsTransport,
    own: &Lines,
    counts: &Arc<Counts>,
) -> Result<(String, SctpTransport), Failure> {
    let Lines {
        transport,
        candidates,
    } = own;
    let sctp = SctpTransport::new(dtls);
    let (mut text, mut mids) = (String::new(), Vec::new());
    for section in sections.iter().skip(1) {
        let mirrored = match section.kind {
            "application" => {
                let size = section.one("max-message-size");
                let remote = SctpCapabilities {
                    max_message_size: size.map_or(Ok(65_536), str::parse)?,
                };
                let port = section.one("sctp-port").ok_or("no sctp-port")?.parse()?;
                sctp.start(remote, port)?;
                let own = sctp.capabilities().max_message_size;
                Some(format!(
                    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
                     a=sctp-port:{}\r\na=max-message-size:{own}\r\n",
                    sctp.local_port(),
                ))
            }
            "audio" => mirror(section, Kind::Audio, "opus", dtls, counts)?,
            "video" => mirror(section, Kind::Video, codec, dtls, counts)?,
            _ => None,
        };
        let mid = section.one("mid").ok_or("no mid")?;
        match mirrored {
            Some(lines) => {
                // The connection data belong right behind the section's own line.
                let (media, rest) = lines.split_once("\r\n").unwrap_or_default();
                text += &format!("{media}\r\n{transport}a=mid:{mid}\r\n{rest}{candidates}");
                text += "a=end-of-candidates\r\n";
                mids.push(mid);
            }
            None => {
                text += &format!(
                    "m={} 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\n",
                    section.kind
                )
            }
        }
    }
    let session = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n",
        mids.join(" ")
    );
    Ok((session + &text, sctp))
}

#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let line = input.next_line().await?.ok_or("no offer")?;
    let offer: serde_json::Value = serde_json::from_str(&line)?;
    let offer = offer["sdp"].as_str().ok_or("no sdp")?;
    let counts = Arc::new(Counts::default());
    let gatherer = IceGatherer::new(Configuration {
        loopback_candidates: true,
        ..Configuration::default()
    })?;
    let (answer, sctp) = answer(offer, &arguments, &gatherer, &counts).await?;
    println!("{}", serde_json::json!({ "type": "answer", "sdp": answer }));

    let echoed = Arc::clone(&counts);
    tokio::spawn(async move {
        while let Some(channel) = sctp.next_data_channel().await {
            while let Some(message) = channel.next_message().await {
                let sent = match message {
                    Message::Text(text) => channel.send_text(text),
                    Message::Binary(bytes) => channel.send(bytes),
                };
                if sent.is_ok() {
                    echoed.messages.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    let count = |own: &AtomicU64| own.load(Ordering::Relaxed);
    let is_done = || {
        let media = count(&counts.sounds) >= 50 && count(&counts.pictures) >= 20;
        count(&counts.messages) >= arguments.pings && (media || !arguments.media)
    };
    let until = tokio::time::Instant::now() + Duration::from_secs(arguments.timeout);
    while !is_done() && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let version = gatherer.get_stats().transport.tls_version;
    let result = serde_json::json!({
        "ok": is_done(),
        "err": (!is_done()).then_some("not done in time"),
        "n": count(&counts.messages),
        "dtls": version.map(|own| if own == "FEFC" { "1.3" } else { "1.2" }),
        "audio": { "packets": count(&counts.sounds) },
        "video": { "frames": count(&counts.pictures), "codec": arguments.video.to_uppercase() },
    });
    println!("RESULT {result}");
    // The other side may need more of what we send.
    let end = async { while let Ok(Some(_)) = input.next_line().await {} };
    let _ = tokio::time::timeout(Duration::from_secs(10), end).await;
    match is_done() {
        true => Ok(()),
        false => Err("not done in time".into()),
    }
}

#[expect(clippy::print_stderr, reason = "a program for the terminal")]
fn main() -> ExitCode {
    let Ok(runtime) = tokio::runtime::Runtime::new() else {
        return ExitCode::FAILURE;
    };
    let outcome = runtime.block_on(run(Arguments::parse()));
    // Reading standard input blocks a thread that nothing can end.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ortc: {error}");
            ExitCode::FAILURE
        }
    }
}
