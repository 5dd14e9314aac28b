//! The descriptions that were set, as the application sees them (W3C webrtc-pc §4.4.2).

use std::net::IpAddr;
use std::sync::Arc;

use twocan_wire::candidate::{Candidate, CandidateKind, CandidateTransport};
use twocan_wire::sdp::{Attribute, Description, Line};

use super::negotiator::{Applied, Negotiator};
use super::{IceParameters, SdpType};

impl Negotiator {
    /// `localDescription` with the candidates gathered so far, and whether those are all.
    pub fn local_description(
        &self,
        candidates: &[Candidate],
        complete: bool,
    ) -> Option<(SdpType, String)> {
        let applied = self.agreed.local()?;
        Some((applied.kind, with_candidates(applied, candidates, complete)))
    }

    /// `remoteDescription`, as it was set.
    pub fn remote_description(&self) -> Option<(SdpType, String)> {
        self.agreed.remote().map(as_set)
    }

    /// `currentLocalDescription`, without candidates.
    pub fn current_local_description(&self) -> Option<(SdpType, String)> {
        self.agreed.current_local.as_ref().map(as_set)
    }

    /// `pendingLocalDescription`, without candidates.
    pub fn pending_local_description(&self) -> Option<(SdpType, String)> {
        self.agreed.pending_local.as_ref().map(as_set)
    }

    /// `currentRemoteDescription`.
    pub fn current_remote_description(&self) -> Option<(SdpType, String)> {
        self.agreed.current_remote.as_ref().map(as_set)
    }

    /// `pendingRemoteDescription`.
    pub fn pending_remote_description(&self) -> Option<(SdpType, String)> {
        self.agreed.pending_remote.as_ref().map(as_set)
    }

    /// `currentLocalDescription` with the candidates gathered so far, if they are of its
    /// generation.
    pub fn current_local_description_with(
        &self,
        candidates: &[Candidate],
        complete: bool,
    ) -> Option<(SdpType, String)> {
        let current = self.agreed.current_local.as_ref()?;
        let newest = self.agreed.local()?;
        if generation(current) == generation(newest) {
            return Some((current.kind, with_candidates(current, candidates, complete)));
        }
        Some(as_set(current))
    }
}

impl Negotiator {
    /// The credentials of our newest description.
    pub fn local_ice(&self) -> Option<IceParameters> {
        credentials(self.agreed.local()?)
    }

    /// The credentials of the newest remote description.
    pub fn remote_ice(&self) -> Option<IceParameters> {
        credentials(self.agreed.remote()?)
    }

    /// The candidates of the newest remote description, with those that were added to it.
    pub fn stated_candidates(&self) -> Vec<StatedCandidate> {
        let remote = self.agreed.remote();
        remote.map_or_else(Vec::new, |remote| candidates_in(&remote.sdp))
    }
}

fn credentials(applied: &Applied) -> Option<IceParameters> {
    let mut sections = applied.terms.sections.iter();
    sections.find_map(|section| section.ice.clone())
}

fn as_set(applied: &Arc<Applied>) -> (SdpType, String) {
    (applied.kind, applied.sdp.to_string())
}

/// A candidate as a description states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedCandidate {
    /// `candidate:…`.
    pub candidate: String,
    /// The name of its section.
    pub mid: Option<String>,
    /// The index of its section.
    pub index: u16,
    /// The generation.
    pub username_fragment: Option<String>,
}

/// The user name fragment of the first section that has one.
fn generation(applied: &Applied) -> Option<&str> {
    let mut sections = applied.terms.sections.iter();
    sections.find_map(|section| Some(section.ice.as_ref()?.username_fragment.as_str()))
}

/// The description with candidates and a default address in the section of the transport.
fn with_candidates(applied: &Applied, candidates: &[Candidate], complete: bool) -> String {
    let Ok(mut description) = applied.sdp.parse::<Description>() else {
        return applied.sdp.to_string();
    };
    let accepted: Vec<bool> = description
        .media
        .iter()
        .map(|media| !media.is_rejected())
        .collect();
    let index = super::answer::transport_index(&applied.terms, &accepted);
    let media = index.and_then(|index| description.media.get_mut(index));
    let Some(media) = media else {
        return description.to_string();
    };
    if let Some((ip, port)) = default_address(candidates) {
        media.port = port;
        for line in &mut media.lines {
            if let Line::Connection(address) = line {
                *address = ip;
            }
        }
    }
    for candidate in candidates {
        media.push(Attribute::Candidate(candidate.clone()));
    }
    if complete {
        media.push(Attribute::EndOfCandidates);
    }
    description.to_string()
}

/// RFC 8839 §4.2.1.2: the candidate most likely to work for a peer without ICE: relayed, else
/// reflexive, else a host's; IPv4 where there is one.
fn default_address(candidates: &[Candidate]) -> Option<(IpAddr, u16)> {
    let rank = |candidate: &Candidate, ip: IpAddr| {
        let kind = match candidate.kind {
            CandidateKind::Relay => 3,
            CandidateKind::ServerReflexive | CandidateKind::PeerReflexive => 2,
            CandidateKind::Host | CandidateKind::Other(_) => 1,
        };
        (kind, ip.is_ipv4(), !ip.is_loopback(), candidate.priority)
    };
    candidates
        .iter()
        .filter(|candidate| candidate.transport == CandidateTransport::Udp)
        .filter_map(|candidate| Some((candidate, candidate.address.ip()?)))
        .max_by_key(|(candidate, ip)| rank(candidate, *ip))
        .map(|(candidate, ip)| (ip, candidate.port))
}

/// Candidates that are written into a remote description after it was set; further ones are used, and
/// not shown.
const SHOWN_MAX: usize = 128;

impl Negotiator {
    /// Writes a candidate of `addIceCandidate` into the newest remote description, where the
    /// application sees it (W3C webrtc-pc §4.4.2); an empty text is the end of candidates. The section
    /// is named as for [`Self::remote_candidate`], which has accepted it; without a name it is all.
    pub fn show_remote_candidate(
        &mut self,
        candidate: &str,
        mid: Option<&str>,
        index: Option<usize>,
    ) {
        let slots = &self.agreed.slots;
        let section = match mid {
            Some(mid) => slots.iter().position(|slot| slot.mid.as_str() == mid),
            None => index,
        };
        let seat = match &mut self.agreed.pending_remote {
            Some(pending) => Some(pending),
            None => self.agreed.current_remote.as_mut(),
        };
        let Some(applied) = seat else { return };
        let line = match candidate.trim().trim_start_matches("a=") {
            "" => "a=end-of-candidates".to_owned(),
            text => format!("a={text}"),
        };
        let shown = applied.sdp.matches("a=candidate:").count();
        if shown >= SHOWN_MAX || line.contains(['\r', '\n']) {
            return;
        }
        let sdp = with_line(&applied.sdp, &line, section);
        *applied = Arc::new(Applied {
            kind: applied.kind,
            sdp: sdp.into(),
            terms: applied.terms.clone(),
        });
    }
}

/// The candidates that a description lists, each once.
fn candidates_in(sdp: &str) -> Vec<StatedCandidate> {
    let value = |line: &str, name: &str| {
        let value = line.strip_prefix(name)?.trim_end();
        Some(value.to_owned())
    };
    let mut all: Vec<StatedCandidate> = Vec::new();
    let (mut of_session, mut of_section, mut mid) = (None, None, None);
    let mut section: Option<u16> = None;
    for line in sdp.lines() {
        if line.starts_with("m=") {
            section = Some(section.map_or(0, |before| before.saturating_add(1)));
            (of_section, mid) = (None, None);
        } else if let Some(fragment) = value(line, "a=ice-ufrag:") {
            match section {
                None => of_session = Some(fragment),
                Some(_) => of_section = Some(fragment),
            }
        } else if let Some(stated) = value(line, "a=mid:") {
            mid = Some(stated);
        } else if line.starts_with("a=candidate:")
            && let Some(index) = section
            && let Some(candidate) = value(line, "a=")
            && all.iter().all(|own| own.candidate != candidate)
        {
            all.push(StatedCandidate {
                candidate,
                mid: mid.clone(),
                index,
                username_fragment: None,
            });
        }
        // What a section says of itself may come after its candidates.
        let own = all.iter_mut().filter(|own| Some(own.index) == section);
        for candidate in own {
            candidate.mid.clone_from(&mid);
            candidate.username_fragment = of_section.clone().or_else(|| of_session.clone());
        }
    }
    all
}

/// The text with a line at the end of one media section, or of all, unless it has it already.
fn with_line(sdp: &str, line: &str, section: Option<usize>) -> String {
    let mut parts = sdp.split_inclusive('\n').peekable();
    let mut text = String::with_capacity(sdp.len() + line.len() + 2);
    let mut index: Option<usize> = None;
    let mut has_line = false;
    while let Some(part) = parts.next() {
        if part.starts_with("m=") {
            index = Some(index.map_or(0, |index| index + 1));
            has_line = false;
        }
        has_line |= part.trim_end() == line;
        text.push_str(part);
        let is_last = parts.peek().is_none_or(|next| next.starts_with("m="));
        let is_named = index.is_some() && section.is_none_or(|wanted| index == Some(wanted));
        if is_last && is_named && !has_line {
            if !part.ends_with('\n') {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str("\r\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{candidates_in, with_line};

    #[test]
    fn candidates_are_listed_once_with_the_section_that_states_them() {
        let sdp = "v=0\r\na=ice-ufrag:all\r\nm=audio 9 A 0\r\na=candidate:1 x\r\na=mid:a\r\n\
                   m=video 9 A 0\r\na=ice-ufrag:own\r\na=candidate:1 x\r\na=candidate:2 y\r\n\
                   a=mid:b";
        let found = candidates_in(sdp);
        let told = found.iter().map(|own| {
            let fragment = own.username_fragment.as_deref();
            (
                own.candidate.as_str(),
                own.mid.as_deref(),
                own.index,
                fragment,
            )
        });
        let expected = [
            ("candidate:1 x", Some("a"), 0, Some("all")),
            ("candidate:2 y", Some("b"), 1, Some("own")),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lines_go_to_the_end_of_their_section_once() {
        let sdp = "v=0\r\nm=audio 9 A 0\r\na=mid:a\r\nm=video 9 A 0\r\na=mid:b";
        let first = with_line(sdp, "a=x", Some(0));
        assert_eq!(
            first,
            "v=0\r\nm=audio 9 A 0\r\na=mid:a\r\na=x\r\nm=video 9 A 0\r\na=mid:b"
        );
        assert_eq!(with_line(&first, "a=x", Some(0)), first);
        let all = with_line(sdp, "a=x", None);
        assert!(all.ends_with("a=mid:b\r\na=x\r\n") && all.contains("a=mid:a\r\na=x\r\nm=video"));
        assert_eq!(with_line(sdp, "a=x", Some(2)), sdp);
    }
}
