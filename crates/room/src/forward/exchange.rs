//! Connections that are made by one offer and one answer, as WHIP (RFC 9725) and WHEP have them:
//! candidates and restarts come as fragments of a description (RFC 8840), and the server offers
//! nothing.

use serde_json::json;
use serde_json::value::to_raw_value;
use twocan_proto::endpoint::PeerId;
use twocan_proto::negotiate::{SdpType, SignalingState};
use twocan_proto::peer::{Description, RemoteCandidateInit};
use twocan_proto::time::Now;

use super::forwarder::Forwarder;

/// What a fragment says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fragment {
    /// `a=ice-ufrag`.
    pub username_fragment: Option<String>,
    /// `a=ice-pwd`.
    pub password: Option<String>,
    /// `candidate:…`, in order.
    pub candidates: Vec<String>,
    /// `a=end-of-candidates`.
    pub ends: bool,
}

/// Candidates of one fragment; further ones are left out.
const CANDIDATES_MAX: usize = 64;

impl Fragment {
    /// Reads `application/trickle-ice-sdpfrag`. Sections share one transport, so where a line stands
    /// does not matter.
    ///
    /// # Errors
    /// What is wrong, where a line is none of a description, or the fragment says nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fragment = Self::default();
        for line in text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.is_empty())
        {
            let Some((kind, value)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1)
            else {
                return Err(format!("{line:?} is no line of a description"));
            };
            if kind != "a" {
                continue;
            }
            if let Some(name) = value.strip_prefix("ice-ufrag:") {
                fragment
                    .username_fragment
                    .get_or_insert_with(|| name.to_owned());
            } else if let Some(password) = value.strip_prefix("ice-pwd:") {
                fragment.password.get_or_insert_with(|| password.to_owned());
            } else if value.starts_with("candidate:") {
                if fragment.candidates.len() < CANDIDATES_MAX {
                    fragment.candidates.push(value.to_owned());
                }
            } else if value == "end-of-candidates" {
                fragment.ends = true;
            }
        }
        match fragment == Self::default() {
            true => Err("the fragment has neither credentials nor candidates".into()),
            false => Ok(fragment),
        }
    }

    /// What a whole description says of ICE, as a fragment.
    fn of_description(sdp: &str) -> String {
        let first = sdp.split("\r\nm=").nth(1).unwrap_or_default();
        let is_told = |line: &&str| {
            let told = ["a=ice-", "a=candidate:", "a=end-of-candidates", "a=mid:"];
            told.iter().any(|start| line.starts_with(start))
        };
        let mut text = String::new();
        let session = sdp.lines().take_while(|line| !line.starts_with("m="));
        for line in session.filter(|line| line.starts_with("a=ice-")) {
            text.push_str(line);
            text.push_str("\r\n");
        }
        let section = first.lines().next().map(|line| format!("m={line}"));
        for line in section
            .iter()
            .map(String::as_str)
            .chain(first.lines().filter(is_told))
        {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text
    }
}

impl Forwarder {
    /// The only offer of somebody who joined: the answer comes as [`super::Event::Signal`] `answer`,
    /// what is wrong as `error`. Nothing is offered to it afterwards.
    pub fn handle_only_offer(&mut self, now: Now, participant: &str, sdp: &str) {
        if let Some(own) = self.participant_mut(participant) {
            own.negotiation.is_single = true;
        }
        self.handle_whole_offer(now, participant, sdp);
    }

    /// An offer with everything in it, as it came by HTTP.
    pub(super) fn handle_whole_offer(&mut self, now: Now, participant: &str, sdp: &str) {
        let offer = json!({"type": "offer", "sdp": sdp});
        // Strings only: it can be written.
        if let Ok(offer) = to_raw_value(&offer) {
            self.handle_signal(now, participant, "offer", &offer);
        }
    }

    /// Candidates of the generation that is in use.
    ///
    /// # Errors
    /// Which candidate is malformed; those before it are taken.
    pub fn handle_fragment(
        &mut self,
        now: Now,
        participant: &str,
        fragment: &Fragment,
    ) -> Result<(), String> {
        let id = self.ids.get(participant).copied().ok_or("gone")?;
        let peer = self.endpoint.get_mut(id).ok_or("gone")?;
        let ends = fragment.ends.then(String::new);
        for candidate in fragment.candidates.iter().cloned().chain(ends) {
            let init = RemoteCandidateInit {
                candidate,
                sdp_m_line_index: Some(0),
                username_fragment: fragment.username_fragment.clone(),
                ..RemoteCandidateInit::default()
            };
            match peer.add_ice_candidate(now, &init) {
                // One of another generation is of no use any more.
                Err(error) if error.name() != "OperationError" => return Err(error.to_string()),
                _ => {}
            }
        }
        Ok(())
    }

    /// An ICE restart by the other side; answers ours as a fragment.
    ///
    /// # Errors
    /// Why it is not taken; the connection is as it was.
    pub fn handle_restart(
        &mut self,
        now: Now,
        participant: &str,
        fragment: &Fragment,
    ) -> Result<String, String> {
        let id = self.ids.get(participant).copied().ok_or("gone")?;
        let (Some(name), Some(password)) = (&fragment.username_fragment, &fragment.password) else {
            return Err("a restart needs a=ice-ufrag and a=ice-pwd".into());
        };
        let offer = self.offer_again(id, name, password)?;
        let peer = self.endpoint.get_mut(id).ok_or("gone")?;
        let offer = Description {
            kind: SdpType::Offer,
            sdp: offer,
        };
        if peer.signaling_state() == SignalingState::HaveLocalOffer {
            // The way over which it was to be answered may be gone: it is made again afterwards.
            let back = Description {
                kind: SdpType::Rollback,
                sdp: String::new(),
            };
            let _ = peer.set_local_description(now, Some(&back));
            if let Some(own) = self.participants.get_mut(&id) {
                own.negotiation.is_needed = true;
            }
        }
        let peer = self.endpoint.get_mut(id).ok_or("gone")?;
        let refused = |error: twocan_proto::negotiate::NegotiateError| error.to_string();
        peer.set_remote_description(now, &offer).map_err(refused)?;
        if let Err(error) = peer.set_local_description(now, None) {
            let back = Description {
                kind: SdpType::Rollback,
                sdp: String::new(),
            };
            // There is an offer to take back.
            let _ = peer.set_remote_description(now, &back);
            return Err(refused(error));
        }
        let answer = peer.local_description().ok_or("no answer")?;
        self.handle_fragment(now, participant, fragment)?;
        self.negotiate(now, id);
        Ok(Fragment::of_description(&answer.sdp))
    }

    /// The other side's description with other credentials and without candidates.
    fn offer_again(&self, id: PeerId, name: &str, password: &str) -> Result<String, String> {
        let peer = self.endpoint.get(id).ok_or("gone")?;
        let before = peer
            .remote_description()
            .ok_or("nothing was agreed on yet")?;
        let mut sdp = String::with_capacity(before.sdp.len());
        for line in before.sdp.lines() {
            if line.starts_with("a=ice-ufrag:") {
                sdp.push_str("a=ice-ufrag:");
                sdp.push_str(name);
            } else if line.starts_with("a=ice-pwd:") {
                sdp.push_str("a=ice-pwd:");
                sdp.push_str(password);
            } else if line.starts_with("a=setup:") {
                // It may have been an answer.
                sdp.push_str("a=setup:actpass");
            } else if line.starts_with("a=candidate:") || line == "a=end-of-candidates" {
                continue;
            } else {
                sdp.push_str(line);
            }
            sdp.push_str("\r\n");
        }
        Ok(sdp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_read() {
        // RFC 9725 §4.3.1 has such a one.
        let text = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
            a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
            a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\n\
            a=end-of-candidates\r\n";
        let fragment = Fragment::parse(text).unwrap_or_default();
        assert_eq!(fragment.username_fragment.as_deref(), Some("EsAw"));
        assert_eq!(
            fragment.password.as_deref(),
            Some("P2uYro0UCOQ4zxjKXaWCBui1")
        );
        assert_eq!(fragment.candidates.len(), 1);
        assert!(fragment.ends);
        assert!(Fragment::parse("nonsense").is_err());
        assert!(Fragment::parse("").is_err());
        assert!(Fragment::parse("m=audio 9 X 0\r\n").is_err());
    }

    #[test]
    fn a_description_gives_its_fragment() {
        let sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:abcd\r\n\
            a=ice-pwd:secret\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:abcd\r\n";
        let expected = "a=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
            a=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
        assert_eq!(Fragment::of_description(sdp), expected);
    }
}
