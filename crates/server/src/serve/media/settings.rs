//! Settings of media forwarding, checked.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use twocan_io::interfaces::{self, Filter};
use twocan_proto::turn::server::MediaAddress;
use twocan_room::Topology;

use super::super::settings::{Settings, SettingsError};

/// How media goes between participants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TopologyName {
    /// Everybody to everybody: nothing of it passes the server.
    Mesh,
    /// Through the server, which sends each what its way carries.
    Sfu,
    /// Everybody to everybody in small rooms, through the server in others; a room moves from one
    /// to the other while people talk.
    Auto,
}

impl From<TopologyName> for Topology {
    fn from(name: TopologyName) -> Self {
        match name {
            TopologyName::Mesh => Self::Mesh,
            TopologyName::Sfu => Self::Sfu,
            TopologyName::Auto => Self::Auto,
        }
    }
}

/// Codecs for pictures that can be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VideoCodec {
    /// Every browser makes and shows it.
    Vp8,
    /// Every browser makes and shows it.
    H264,
    /// With layers in space.
    Vp9,
    /// With layers in space; Safari has it on some machines.
    Av1,
}

impl VideoCodec {
    /// Its name in SDP.
    pub(crate) fn encoding_name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::H264 => "H264",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
        }
    }
}

/// How media is forwarded. In a file they are the table `[media]`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MediaSettings {
    /// How media goes between the participants of a room. Default auto.
    #[arg(long, value_name = "SHAPE", env = "TWOCAN_TOPOLOGY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topology: Option<TopologyName>,

    /// Address on which media of rooms is forwarded. Default all of this machine's but loopback.
    /// May be repeated.
    #[arg(
        long = "media-ip",
        value_name = "IP",
        env = "TWOCAN_MEDIA_IPS",
        value_delimiter = ','
    )]
    #[serde(rename = "ips", skip_serializing_if = "Vec::is_empty")]
    pub(crate) media_ips: Vec<IpAddr>,

    /// Public address of each --media-ip, in their order, behind a static address translator. May
    /// be repeated.
    #[arg(
        long = "media-external-ip",
        value_name = "IP",
        env = "TWOCAN_MEDIA_EXTERNAL_IPS",
        value_delimiter = ','
    )]
    #[serde(rename = "external_ips", skip_serializing_if = "Vec::is_empty")]
    pub(crate) media_external_ips: Vec<IpAddr>,

    /// UDP ports of forwarded media: one for each thread and address. Default any.
    #[arg(long, value_name = "LOW-HIGH", env = "TWOCAN_MEDIA_PORTS")]
    #[serde(rename = "ports", skip_serializing_if = "Option::is_none")]
    pub(crate) media_ports: Option<String>,

    /// Codec for pictures that is passed on: vp8, h264, vp9 or av1. Publishers are asked for the
    /// first that they make. Default all, and whichever of them a publisher likes best. May be
    /// repeated.
    #[arg(
        long = "video-codec",
        value_name = "CODEC",
        env = "TWOCAN_VIDEO_CODECS",
        value_delimiter = ','
    )]
    #[serde(rename = "video_codecs", skip_serializing_if = "Vec::is_empty")]
    pub(crate) video_codecs: Vec<VideoCodec>,

    /// Threads that forward media, each with rooms of its own. Default one for each core.
    #[arg(long, value_name = "N", env = "TWOCAN_MEDIA_THREADS")]
    #[serde(rename = "threads", skip_serializing_if = "Option::is_none")]
    pub(crate) media_threads: Option<usize>,

    /// Participants up to which media goes from each to each where rooms move between both shapes.
    /// Default 3.
    #[arg(long, value_name = "N", env = "TWOCAN_PEERS_PER_MESH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peers_per_mesh: Option<usize>,

    /// Seconds after which media of a room that has become small goes from each to each again.
    /// Default 30.
    #[arg(long, value_name = "SECONDS", env = "TWOCAN_MESH_AFTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mesh_after: Option<u64>,

    /// Participants of a room whose media is forwarded. Default 500.
    #[arg(long, value_name = "N", env = "TWOCAN_PEERS_PER_FORWARDED_ROOM")]
    #[serde(rename = "peers_per_room", skip_serializing_if = "Option::is_none")]
    pub(crate) peers_per_forwarded_room: Option<usize>,

    /// Seconds that calls through the server may go on once it is told to end. Default 0.
    #[arg(long, value_name = "SECONDS", env = "TWOCAN_MEDIA_DRAIN")]
    #[serde(rename = "drain", skip_serializing_if = "Option::is_none")]
    pub(crate) media_drain: Option<u64>,
}

/// What the media threads are to do.
#[derive(Debug, Clone)]
pub(crate) struct MediaPlan {
    pub(crate) topology: Topology,
    pub(super) ips: Vec<IpAddr>,
    pub(super) external: Vec<(IpAddr, IpAddr)>,
    pub(super) ports: Option<RangeInclusive<u16>>,
    pub(super) video_codecs: Vec<VideoCodec>,
    pub(super) shards: usize,
    pub(crate) peers_per_room: Option<usize>,
    pub(crate) peers_per_mesh: Option<usize>,
    pub(crate) mesh_after: Option<u64>,
    /// How long calls through the server may go on once it is told to end.
    pub(crate) drain: Duration,
}

/// Threads at most: more than any machine has cores.
const SHARDS_MAX: usize = 1024;

/// Checks the settings.
pub(crate) fn plan(settings: &Settings) -> Result<MediaPlan, SettingsError> {
    let own = &settings.media;
    let externals = own.media_external_ips.len();
    if externals > 0 && externals != own.media_ips.len() {
        return Err(SettingsError::MediaExternalIps {
            externals,
            ips: own.media_ips.len(),
        });
    }
    let pairs = own.media_ips.iter().zip(&own.media_external_ips);
    let external: Vec<_> = pairs.map(|(ip, external)| (*ip, *external)).collect();
    if let Some((ip, external)) = external
        .iter()
        .find(|(ip, other)| ip.is_ipv4() != other.is_ipv4())
    {
        return Err(SettingsError::MediaFamilies {
            ip: *ip,
            external: *external,
        });
    }
    let ports = match &own.media_ports {
        None => None,
        Some(text) => {
            let ports = super::super::turn::ports(text);
            Some(ports.ok_or_else(|| SettingsError::MediaPorts(text.clone()))?)
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(MediaPlan {
        topology: match own.topology {
            Some(own) => own.into(),
            None => Topology::Auto,
        },
        ips: own.media_ips.clone(),
        external,
        ports,
        video_codecs: own.video_codecs.clone(),
        shards: own.media_threads.unwrap_or(cores).clamp(1, SHARDS_MAX),
        peers_per_room: own.peers_per_forwarded_room,
        peers_per_mesh: own.peers_per_mesh,
        mesh_after: own.mesh_after,
        drain: Duration::from_secs(own.media_drain.unwrap_or(0)),
    })
}

impl MediaPlan {
    /// What is bound, as clients are told of it: under its address, or under what a translator makes of
    /// that.
    pub(crate) fn media_addresses(&self, bound: &[SocketAddr]) -> Vec<MediaAddress> {
        let all = bound.iter().map(|own| {
            let outer = self.external.iter().find(|(ip, _)| *ip == own.ip());
            let told = outer.map_or(own.ip(), |(_, external)| *external);
            MediaAddress {
                told: SocketAddr::new(told, own.port()),
                bound: *own,
            }
        });
        all.collect()
    }

    /// The addresses to bind: those named, else those of this machine, loopback where it has no
    /// others.
    pub(super) fn addresses(&self) -> std::io::Result<Vec<IpAddr>> {
        if !self.ips.is_empty() {
            return Ok(self.ips.clone());
        }
        let own = interfaces::list(&Filter::default())?;
        if !own.is_empty() {
            return Ok(own);
        }
        interfaces::list(&Filter {
            loopback: true,
            names: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(media: MediaSettings) -> String {
        let settings = Settings {
            media,
            ..Settings::default()
        };
        plan(&settings).err().unwrap().to_string()
    }

    #[test]
    fn contradictions_are_refused() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = MediaSettings {
            media_external_ips: vec![ip("192.0.2.1")],
            ..MediaSettings::default()
        };
        assert!(refused(one).contains("--media-external-ip"));
        let families = MediaSettings {
            media_ips: vec![ip("10.0.0.1")],
            media_external_ips: vec![ip("2001:db8::1")],
            ..MediaSettings::default()
        };
        assert!(refused(families).contains("2001:db8::1"));
        let ports = MediaSettings {
            media_ports: Some("9-1".into()),
            ..MediaSettings::default()
        };
        assert!(refused(ports).contains("9-1"));
    }
}
