//! Joining a room by an offer, and by nothing else: what is its own beside WHIP (`docs/join.md`).

use axum::response::Response;
use twocan_proto::wire::sdp::{Description, MediaKind};
use twocan_room::{Introduction, OwnUrls};

use super::super::hall::Comes;
use super::super::signaling;
use super::{bad_request, unprocessable};

/// What somebody comes for whose offer has a data channel.
#[expect(clippy::result_large_err, reason = "the answer itself, made once")]
pub(super) fn comes(
    offer: &Description,
    query: Option<&str>,
    own: OwnUrls,
) -> Result<Comes, Response> {
    if !has_channel(offer) {
        let why = "the offer has no data channel (m=application): make one with the label \
            signaling and the protocol twocan.v1 before the offer";
        return Err(unprocessable(why));
    }
    let who = introduction(query.unwrap_or_default());
    Ok(Comes::TakesPart {
        id: signaling::next_connection(),
        own,
        who: who.map_err(|error| bad_request(&format!("metadata is JSON: {error}")))?,
    })
}

/// Whether there is a section for data channels that is in use (RFC 8841 §5.1).
fn has_channel(offer: &Description) -> bool {
    let mut sections = offer.media.iter();
    sections.any(|own| own.kind == MediaKind::Application && own.port != 0)
}

/// `name` and `metadata` of the query, as a client says them in `join` over a WebSocket.
fn introduction(query: &str) -> Result<Introduction, serde_json::Error> {
    let value = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut named = pairs.filter(|(own, _)| *own == name);
        // As forms write it (URL, §5.1).
        let decoded = |text: &str| signaling::percent_decoded(&text.replace('+', " "));
        named.next().map(|(_, text)| decoded(text))
    };
    // As everybody reads it: what grammar alone lets through would spoil what stands beside it.
    let metadata = value("metadata").map(|text| {
        let value: serde_json::Value = serde_json::from_str(&text)?;
        serde_json::value::to_raw_value(&value)
    });
    Ok(Introduction {
        name: value("name"),
        metadata: metadata.transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_says_who_comes() {
        let said = |query: &str| {
            let who = introduction(query).unwrap();
            (who.name, who.metadata.map(|own| own.get().to_owned()))
        };
        assert_eq!(said(""), (None, None));
        let who = said("access_token=x&name=Ada+L%C3%B6ve&metadata=%7B%22a%22%3A1%7D&name=no");
        assert_eq!(
            who,
            (Some("Ada L\u{f6}ve".into()), Some(r#"{"a":1}"#.into()))
        );
        assert!(introduction("metadata=%7B").is_err());
    }

    #[test]
    fn a_section_for_channels_counts_where_it_is_in_use() {
        let has = |line: &str| {
            let offer = format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{line}\r\n");
            has_channel(&offer.parse().unwrap())
        };
        assert!(has("m=application 9 UDP/DTLS/SCTP webrtc-datachannel"));
        assert!(!has("m=application 0 UDP/DTLS/SCTP webrtc-datachannel"));
        assert!(!has("m=audio 9 UDP/TLS/RTP/SAVPF 111"));
    }
}
