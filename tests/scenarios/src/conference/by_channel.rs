//! Attendees who join by one offer, as by HTTP, and whose signaling is on a data channel.

use serde_json::json;
use serde_json::value::RawValue;
use twocan_proto::channel::{ChannelId, ChannelInit, Event, Message};
use twocan_proto::peer::Peer;
use twocan_room::MediaPermissions;
use twocan_room::forward::{self, Fragment, SIGNALING_LABEL, SIGNALING_PROTOCOL};
use twocan_sim::LinkConfig;

use super::Conference;

/// The signaling of somebody on a data channel.
#[derive(Debug, Default)]
pub struct ByChannel {
    /// The channel, once somebody opened it.
    pub channel: Option<ChannelId>,
    /// Whether its offer was answered.
    is_answered: bool,
    /// Texts that it got and that are no frames of the server's own.
    pub texts: Vec<String>,
    /// Texts that the server got of it, and that are no frames.
    pub said: Vec<String>,
    /// Whether it does not read.
    pub sleeps: bool,
    /// How the server said that it left: whether that came to pass by itself.
    pub ended: Option<bool>,
    /// Whether the server said that too much waits for it.
    pub is_behind: bool,
}

impl Conference {
    /// Somebody joins by an offer, with a channel for its signaling or without.
    pub fn join_by_offer(&mut self, link: LinkConfig, sends: bool, opens: bool) -> usize {
        self.join_permitted(link, sends, opens, &MediaPermissions::default())
    }

    /// The same, with what of its media may be passed on at first.
    pub fn join_permitted(
        &mut self,
        link: LinkConfig,
        sends: bool,
        opens: bool,
        permissions: &MediaPermissions,
    ) -> usize {
        let index = self.arrive(link, None, sends);
        self.attendees[index].by_channel = Some(ByChannel::default());
        self.permit(index, permissions);
        if opens {
            self.open_signaling(index, true);
        } else {
            // Another one, so that there is a section for channels.
            let other = ChannelInit {
                label: "other".to_owned(),
                ..ChannelInit::default()
            };
            let opened = self.peer_mut(index, |peer, _| peer.create_data_channel(other));
            assert!(opened.is_ok());
        }
        let name = self.attendees[index].name.clone();
        let offer = self.peer_mut(index, |peer, now| {
            peer.set_local_description(now, None)
                .unwrap_or_else(|error| unreachable!("offer: {error}"));
            peer.local_description()
        });
        let sdp = offer.map(|own| own.sdp).unwrap_or_default();
        self.server(|server, now| server.handle_joining_offer(now, &name, &sdp));
        index
    }

    /// Somebody opens the channel for its signaling.
    pub fn open_signaling(&mut self, index: usize, is_ordered: bool) {
        let init = ChannelInit {
            label: SIGNALING_LABEL.to_owned(),
            protocol: SIGNALING_PROTOCOL.to_owned(),
            ordered: is_ordered,
            ..ChannelInit::default()
        };
        let opened = self.peer_mut(index, |peer, _| peer.create_data_channel(init));
        if let Some(own) = &mut self.attendees[index].by_channel {
            own.channel = opened.ok();
        }
    }

    /// The signaling of somebody, to look at.
    pub fn by_channel(&self, index: usize) -> &ByChannel {
        let own = self.attendees[index].by_channel.as_ref();
        own.unwrap_or_else(|| unreachable!("{index} came by a WebSocket"))
    }

    /// The same, to change it.
    pub fn by_channel_mut(&mut self, index: usize) -> &mut ByChannel {
        let own = self.attendees[index].by_channel.as_mut();
        own.unwrap_or_else(|| unreachable!("{index} came by a WebSocket"))
    }

    /// Somebody sends a text over its channel; answers whether that took it.
    pub fn send_text(&mut self, index: usize, text: &str) -> bool {
        let Some(channel) = self.by_channel(index).channel else {
            return false;
        };
        let text = text.to_owned();
        self.peer_mut(index, |peer, now| {
            peer.send_text(now, channel, text).is_ok()
        })
    }

    /// Does something with somebody's connection.
    pub fn with_peer<R>(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Peer, twocan_proto::time::Now) -> R,
    ) -> R {
        self.peer_mut(index, act)
    }

    /// Somebody restarts ICE by a fragment, as by PATCH.
    pub fn restart_by_fragment(&mut self, index: usize) {
        let name = self.attendees[index].name.clone();
        let offer = self.peer_mut(index, |peer, now| {
            peer.restart_ice();
            peer.set_local_description(now, None)
                .unwrap_or_else(|error| unreachable!("offer: {error}"));
            peer.local_description()
        });
        let sdp = offer.map(|own| own.sdp).unwrap_or_default();
        let fragment = Fragment::parse(&sdp).unwrap_or_else(|error| unreachable!("{error}"));
        let ours = self.server(|server, now| server.handle_restart(now, &name, &fragment));
        let ours = ours.unwrap_or_else(|error| unreachable!("{error}"));
        let ours = Fragment::parse(&ours).unwrap_or_else(|error| unreachable!("{error}"));
        let replaced = |line: &str| match line.split_once(':') {
            Some(("a=ice-ufrag", _)) => {
                let name = ours.username_fragment.as_deref();
                format!("a=ice-ufrag:{}\r\n", name.unwrap_or_default())
            }
            Some(("a=ice-pwd", _)) => {
                let password = ours.password.as_deref();
                format!("a=ice-pwd:{}\r\n", password.unwrap_or_default())
            }
            // What we offered last was answered by us; here it is the answer.
            Some(("a=setup", _)) => "a=setup:passive\r\n".to_owned(),
            _ => format!("{line}\r\n"),
        };
        self.peer_mut(index, |peer, now| {
            let before = peer.remote_description().map(|own| own.sdp);
            let sdp = before.unwrap_or_default().lines().map(replaced).collect();
            let answer = twocan_proto::peer::Description {
                kind: twocan_proto::negotiate::SdpType::Answer,
                sdp,
            };
            peer.set_remote_description(now, &answer)
                .unwrap_or_else(|error| unreachable!("{error}"));
        });
    }

    /// Says something over a channel; what is said before that is open is lost: candidates, which the
    /// server learns of checks.
    pub(super) fn say_by_channel(&mut self, index: usize, event: &str, data: &serde_json::Value) {
        let frame = json!({"event": event, "to": ["server"], "data": data});
        self.send_text(index, &frame.to_string());
    }

    /// The hall's part: what the forwarder says goes over the channel, but for the answer to the first
    /// offer. Answers whether it did.
    pub(super) fn tell_by_channel(&mut self, index: usize, event: &str, data: &RawValue) -> bool {
        let own = &mut self.attendees[index];
        let Some(by_channel) = &mut own.by_channel else {
            return false;
        };
        if !std::mem::replace(&mut by_channel.is_answered, true) {
            return false;
        }
        let name = own.name.clone();
        let text = json!({"event": event, "from": "server", "data": data}).to_string();
        self.server(|server, now| server.say(now, &name, text));
        true
    }

    /// What the forwarder says of channels.
    pub(super) fn take_of_channel(&mut self, event: forward::Event) {
        match event {
            forward::Event::Ended {
                participant,
                is_lost,
            } => self.change(&participant, |own| own.ended = Some(is_lost)),
            forward::Event::Behind { participant } => {
                self.change(&participant, |own| own.is_behind = true);
            }
            forward::Event::Text { participant, text } => self.said(&participant, text),
            forward::Event::Signal { .. } => {}
        }
    }

    fn change(&mut self, participant: &str, change: impl FnOnce(&mut ByChannel)) {
        let mut all = self.attendees.iter_mut();
        let own = all.find(|own| own.name == participant);
        if let Some(own) = own.and_then(|own| own.by_channel.as_mut()) {
            change(own);
        }
    }

    /// The hall's part: what is for the server goes to the forwarder.
    fn said(&mut self, participant: &str, text: String) {
        let parsed: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let event = parsed.as_ref().and_then(|own| own["event"].as_str());
        let (Some(event), Some(parsed)) = (event, &parsed) else {
            return self.change(participant, |own| own.said.push(text));
        };
        if let Ok(data) = serde_json::value::to_raw_value(&parsed["data"]) {
            self.server(|server, now| server.handle_signal(now, participant, event, &data));
        }
    }

    /// Takes what came over somebody's channel.
    pub(super) fn hear_channel(&mut self, index: usize) {
        let own = self.attendees[index].by_channel.as_ref();
        if own.is_none_or(|own| own.sleeps) {
            return;
        }
        let mut texts = Vec::new();
        self.peer_mut(index, |peer, _| {
            while let Some(event) = peer.poll_channel_event() {
                if let Event::Message(_, Message::Text(text)) = event {
                    texts.push(text);
                }
            }
        });
        for text in texts {
            let parsed: Option<serde_json::Value> = serde_json::from_str(&text).ok();
            let event = parsed.as_ref().and_then(|own| own["event"].as_str());
            match (event, &parsed) {
                (Some(event), Some(parsed)) => {
                    let data = parsed["data"].to_string();
                    self.heard(index, event, &data);
                }
                _ => self.by_channel_mut(index).texts.push(text),
            }
        }
    }
}
