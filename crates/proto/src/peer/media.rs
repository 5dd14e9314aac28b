//! Media: what was negotiated becomes streams; frames in and out.

use thiserror::Error;
use twocan_wire::ids::{Mid, PayloadType, Rid};
use twocan_wire::payload::h264::PacketizationMode;
use twocan_wire::rtp::ExtensionMap;
use twocan_wire::sdp::fmtp_parameter;

use super::machine::Peer;
use super::parameters::HeaderExtensionParameters;
use crate::congestion::Marking;
use crate::negotiate::{Kind, MediaPlan, NegotiatedCodec, RepairCodec, TransceiverId, is_called};
use crate::rtp::playout::PlayoutStats;
use crate::rtp::{
    self, Codec, Delivery, Encoding, Format, Media, OutgoingFrame, OutgoingPacket, PayloadTypes,
    Repair, Synchronization,
};
use crate::time::Now;

/// A section as the application sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiatedMedia {
    /// Its transceiver.
    pub transceiver: TransceiverId,
    /// Its identification.
    pub mid: Mid,
    /// What it carries.
    pub kind: Kind,
    /// Whether we send.
    pub sends: bool,
    /// Whether we receive.
    pub receives: bool,
    /// The codecs, the preferred one first; without RED and FEC, which carry no media of their own.
    pub codecs: Vec<NegotiatedCodec>,
    /// Numbers of the extensions in packets that we send.
    pub extensions_send: ExtensionMap,
    /// Whether reduced-size RTCP is agreed (RFC 5506).
    pub rtcp_rsize: bool,
    /// Simulcast streams that the other side sends, by RID, where we accepted them.
    pub rids: Vec<Rid>,
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendFrameError {
    /// The transceiver has no section, or is stopped.
    #[error("InvalidStateError: the transceiver is not negotiated")]
    NotNegotiated,
    /// The encoding rests, by the application's parameters or the other side's description.
    #[error("InvalidStateError: the encoding is not active")]
    NotActive,
    /// There are no keys yet.
    #[error("InvalidStateError: not connected")]
    NotConnected,
    /// The section refuses.
    #[error(transparent)]
    Stream(#[from] rtp::SendError),
}

impl Peer {
    /// Sends a frame on a transceiver.
    ///
    /// # Errors
    /// [`SendFrameError`]; nothing is sent then.
    pub fn send_frame(
        &mut self,
        now: Now,
        transceiver: TransceiverId,
        frame: &OutgoingFrame<'_>,
    ) -> Result<(), SendFrameError> {
        let mid = self.sending_mid(transceiver, frame.rid)?;
        Ok(self.transport.rtp.send_frame(now, &mid, frame)?)
    }

    /// Sends a packet on a transceiver.
    ///
    /// # Errors
    /// [`SendFrameError`]; nothing is sent then.
    pub fn send_packet(
        &mut self,
        now: Now,
        transceiver: TransceiverId,
        packet: &OutgoingPacket<'_>,
    ) -> Result<(), SendFrameError> {
        let mut sender = self.packet_sender(transceiver, packet.rid)?;
        Ok(sender.send(now, packet)?)
    }

    /// Looks up the stream of a transceiver, for several packets: the first, or that of a simulcast
    /// named.
    ///
    /// # Errors
    /// [`SendFrameError`].
    pub fn packet_sender(
        &mut self,
        transceiver: TransceiverId,
        rid: Option<&str>,
    ) -> Result<rtp::PacketSender<'_>, SendFrameError> {
        let mid = self.sending_mid(transceiver, rid)?;
        Ok(self.transport.rtp.packet_sender(&mid, rid)?)
    }

    pub(super) fn sending_mid(
        &self,
        transceiver: TransceiverId,
        rid: Option<&str>,
    ) -> Result<Mid, SendFrameError> {
        let mid = self.negotiator.mid(transceiver);
        let mid = mid.ok_or(SendFrameError::NotNegotiated)?;
        let sender = self.negotiator.transceiver(transceiver);
        let mut encodings = sender.into_iter().flat_map(|own| own.encodings());
        let meant = encodings.find(|own| rid.is_none() || own.rid.as_ref().map(Rid::as_str) == rid);
        if meant.is_some_and(|own| !own.active) {
            return Err(SendFrameError::NotActive);
        }
        match self.transport.has_keys() {
            true => Ok(mid.clone()),
            false => Err(SendFrameError::NotConnected),
        }
    }

    /// Says how what a transceiver receives is handed out from here on; frames by default.
    pub fn set_delivery(&mut self, transceiver: TransceiverId, delivery: Delivery) {
        match delivery {
            Delivery::Frames => self.packets.remove(&transceiver),
            Delivery::Packets => self.packets.insert(transceiver),
        };
        if let Some(mid) = self.negotiator.mid(transceiver).cloned() {
            self.transport.rtp.set_delivery(&mid, delivery);
        }
    }

    /// How what a transceiver receives is handed out.
    pub fn delivery(&self, transceiver: TransceiverId) -> Delivery {
        match self.packets.contains(&transceiver) {
            true => Delivery::Packets,
            false => Delivery::Frames,
        }
    }

    /// The part of what a transceiver sends that the other side misses, 0 to 1, as it reports: a
    /// mean that follows an increase faster than a decrease. `None` before its first report.
    pub fn expected_packet_loss(&self, transceiver: TransceiverId) -> Option<f64> {
        let mid = self.negotiator.mid(transceiver)?;
        self.transport.rtp.expected_packet_loss(mid)
    }

    /// How far the other side's clock is ahead of ours, in units of 2^-32 s, see
    /// [`rtp::Session::remote_clock_ahead`].
    pub fn remote_clock_ahead(&self) -> Option<i64> {
        self.transport.rtp.remote_clock_ahead()
    }

    /// Asks the other side for a key frame on a transceiver, of one stream of its simulcast or of
    /// all.
    pub fn request_key_frame(&mut self, transceiver: TransceiverId, rid: Option<&str>) {
        if let Some(mid) = self.negotiator.mid(transceiver).cloned() {
            self.transport.rtp.request_key_frame(&mid, rid);
        }
    }

    /// Takes what a jitter buffer for the sound of a transceiver counts, for the statistics.
    pub fn report_playout(&mut self, transceiver: TransceiverId, stats: PlayoutStats) {
        if let Some(mid) = self.negotiator.mid(transceiver).cloned() {
            self.transport.rtp.report_playout(&mid, stats);
        }
    }

    /// Of each stream that can be told, how much it is ahead of the others of its sender.
    pub fn synchronization(&self) -> Vec<Synchronization> {
        self.transport.rtp.synchronization()
    }

    /// What was agreed for a transceiver; `None` before an answer accepts it.
    pub fn negotiated(&self, transceiver: TransceiverId) -> Option<&NegotiatedMedia> {
        self.media
            .iter()
            .find(|media| media.transceiver == transceiver)
    }

    /// The transceiver of a section.
    pub fn transceiver_of(&self, mid: &Mid) -> Option<TransceiverId> {
        self.media
            .iter()
            .find(|media| media.mid == *mid)
            .map(|media| media.transceiver)
    }

    /// Takes the agreed sections.
    pub(super) fn apply_media(&mut self, plans: Vec<MediaPlan>) {
        self.transport.rtp.configure(
            plans
                .iter()
                .map(|plan| to_media(plan, self.delivery(plan.transceiver)))
                .collect(),
        );
        let has_feedback = self.transport.rtp.has_transport_feedback();
        let is_marked =
            self.transport.marking == Marking::L4s && self.transport.rtp.has_mark_feedback();
        self.transport.congestion.set_even(is_marked);
        self.transport.congestion.set_feedback(has_feedback);
        self.target_news = true;
        self.apply_senders(&plans);
        self.media = plans
            .into_iter()
            .map(|plan| NegotiatedMedia {
                transceiver: plan.transceiver,
                mid: plan.mid,
                kind: plan.kind,
                sends: plan.direction.sends(),
                receives: plan.direction.receives(),
                codecs: plan.codecs.into_iter().filter(is_media).collect(),
                extensions_send: plan.extensions_send,
                rtcp_rsize: plan.rtcp_rsize,
                rids: plan.rids,
            })
            .collect();
        self.tell_codepoints();
    }
}

impl NegotiatedMedia {
    /// The extensions of what we send, as W3C lists them.
    pub(super) fn header_extensions(&self) -> Vec<HeaderExtensionParameters> {
        let all = self.extensions_send.iter();
        all.map(|(kind, id)| HeaderExtensionParameters {
            uri: kind.uri().to_owned(),
            id,
        })
        .collect()
    }

    /// The first agreed codec of that name, in any case; with its clock rate, or that and its channels,
    /// where several have the name: `L16`, `CN/16000`, `L16/48000/2`.
    pub fn codec(&self, name: &str) -> Option<&NegotiatedCodec> {
        let is_meant =
            |own: &&NegotiatedCodec| is_called(name, &own.name, (own.clock_rate, own.channels));
        self.codecs.iter().find(is_meant)
    }

    /// The codec that a received payload type means.
    pub fn codec_of(&self, payload_type: PayloadType) -> Option<&NegotiatedCodec> {
        self.codecs
            .iter()
            .find(|codec| codec.payload_type == payload_type)
    }
}

fn to_media(plan: &MediaPlan, delivery: Delivery) -> Media {
    Media {
        mid: plan.mid.clone(),
        remote_mid: plan.remote_mid.clone(),
        sends: plan.direction.sends(),
        receives: plan.direction.receives(),
        codecs: plan
            .codecs
            .iter()
            .filter(|own| is_media(own))
            .map(to_codec)
            .collect(),
        extensions_send: plan.extensions_send,
        extensions_receive: plan.extensions_receive,
        encodings: plan
            .encodings
            .iter()
            .map(|encoding| Encoding {
                rid: encoding.rid.clone(),
                ssrc: encoding.ssrc,
                rtx_ssrc: encoding.rtx,
            })
            .collect(),
        cname: plan.cname.clone(),
        remote: plan
            .remote
            .iter()
            .map(|source| (source.ssrc, source.rtx))
            .collect(),
        rtcp_rsize: plan.rtcp_rsize,
        delivery,
        repair: to_repair(plan),
    }
}

fn is_media(codec: &NegotiatedCodec) -> bool {
    RepairCodec::from_name(&codec.name).is_none()
}

/// What the agreed codecs that carry no media by themselves mean.
fn to_repair(plan: &MediaPlan) -> Repair {
    let mut repair = Repair {
        red_preferred: plan.red_preferred,
        flexfec_remote: plan.remote.iter().filter_map(|own| own.fec).collect(),
        ..Repair::default()
    };
    for codec in &plan.codecs {
        let numbers = PayloadTypes {
            receive: codec.payload_type,
            send: codec.payload_type_send,
        };
        match RepairCodec::from_name(&codec.name) {
            Some(RepairCodec::Red) => {
                repair.red.get_or_insert(numbers);
                repair.red_rtx = repair.red_rtx.or(codec.rtx_payload_type);
            }
            Some(RepairCodec::Ulpfec) => {
                repair.ulpfec.get_or_insert(numbers);
            }
            Some(RepairCodec::Flexfec) => {
                repair.flexfec.get_or_insert(numbers);
                // One source of FlexFEC protects one of media.
                if let [only] = &plan.encodings[..] {
                    repair.flexfec_source = Some((only.ssrc, plan.fec));
                }
            }
            None => {}
        }
    }
    repair
}

/// The format of a codec that was agreed on.
pub(super) fn format_of(codec: &NegotiatedCodec) -> Format {
    match format_named(&codec.name) {
        // What the peer can receive decides how we send; we receive either mode.
        Format::H264(_)
            if fmtp_parameter(&codec.fmtp_remote, "packetization-mode") == Some("1") =>
        {
            Format::H264(PacketizationMode::NonInterleaved)
        }
        Format::L16(_) => Format::L16(codec.channels.max(1)),
        format => format,
    }
}

/// The format of a codec of that name, in any case.
pub(super) fn format_named(name: &str) -> Format {
    match name.to_ascii_lowercase().as_str() {
        "l16" => Format::L16(1),
        "vp8" => Format::Vp8,
        "vp9" => Format::Vp9,
        "av1" => Format::Av1,
        "h265" => Format::H265,
        "h264" => Format::H264(PacketizationMode::SingleNalUnit),
        _ => Format::Whole,
    }
}

fn to_codec(codec: &NegotiatedCodec) -> Codec {
    Codec {
        format: format_of(codec),
        payload_type: codec.payload_type,
        payload_type_send: codec.payload_type_send,
        rtx: codec.rtx_payload_type,
        rtx_send: codec.rtx_payload_type_send,
        clock_rate: codec.clock_rate.max(1),
        nack: codec.feedback.nack,
        pli: codec.feedback.nack_pli,
        fir: codec.feedback.ccm_fir,
        transport_cc: codec.feedback.transport_cc,
        ack_ccfb: codec.feedback.ack_ccfb,
        goog_remb: codec.feedback.goog_remb,
    }
}
