//! The certificates that descriptions name.

use twocan_proto::wire::sdp::{Attribute, Description, Fingerprint, Media};

/// Whether both descriptions name certificates, and none in common.
pub(super) fn names_other_certificate(before: &str, now: &str) -> bool {
    let (before, now) = (fingerprints(before), fingerprints(now));
    !before.is_empty() && !now.is_empty() && !now.iter().any(|own| before.contains(own))
}

/// Those of all its sections; none of what is no description.
fn fingerprints(sdp: &str) -> Vec<Fingerprint> {
    let Ok(description) = sdp.parse::<Description>() else {
        return Vec::new();
    };
    let sections = description.media.iter().flat_map(Media::attributes);
    let attributes = description.attributes().chain(sections);
    let own = attributes.filter_map(|attribute| match attribute {
        Attribute::Fingerprint(own) => Some(own.clone()),
        _ => None,
    });
    own.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_with_another_certificate_begins_a_new_connection() {
        let offer = |certificate: u8| {
            let digest = vec![format!("{certificate:02X}"); 32].join(":");
            format!(
                "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
                 m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
                 a=fingerprint:sha-256 {digest}\r\n"
            )
        };
        assert!(names_other_certificate(&offer(1), &offer(2)));
        assert!(!names_other_certificate(&offer(1), &offer(1)));
        assert!(!names_other_certificate("", &offer(1)), "the first");
        assert!(!names_other_certificate(&offer(1), "nonsense"));
    }
}
