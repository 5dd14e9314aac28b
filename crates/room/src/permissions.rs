//! What a participant may do, and how it got in.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a track shows or sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Somebody's voice.
    Microphone,
    /// Somebody's picture.
    Camera,
    /// A shared screen, window or tab.
    #[serde(alias = "screen_share")]
    Screen,
    /// What a shared tab sounds.
    #[serde(alias = "screen_share_audio")]
    ScreenAudio,
    /// Anything else.
    Other,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Microphone,
        Self::Camera,
        Self::Screen,
        Self::ScreenAudio,
        Self::Other,
    ];

    /// Its name in the signaling protocol.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Microphone => "microphone",
            Self::Camera => "camera",
            Self::Screen => "screen",
            Self::ScreenAudio => "screen-audio",
            Self::Other => "other",
        }
    }

    /// By its name in the signaling protocol, or in tokens (`screen_share`, `screen_share_audio`).
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "screen_share" => Some(Self::Screen),
            "screen_share_audio" => Some(Self::ScreenAudio),
            _ => Self::ALL.into_iter().find(|own| own.as_str() == name),
        }
    }

    /// Whether its tracks are pictures; `None` where they may be either.
    pub const fn is_video(self) -> Option<bool> {
        match self {
            Self::Microphone | Self::ScreenAudio => Some(false),
            Self::Camera | Self::Screen => Some(true),
            Self::Other => None,
        }
    }
}

/// What a participant may do. The default is what everybody may in an open room: all but to
/// moderate and to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// What it may send; nothing where this is empty.
    pub publish: BTreeSet<Source>,
    /// Whether it gets what others send.
    pub subscribe: bool,
    /// Whether it may say anything to others but what negotiates media.
    pub data: bool,
    /// Whether it may change its own name and metadata, where its token does not say them.
    pub metadata: bool,
    /// Whether it may moderate the room.
    pub moderate: bool,
    /// Whether it may record the room. The server records nothing itself: it is told to clients.
    pub record: bool,
    /// Whether nobody is told that it is there. Who is hidden sends nothing and says nothing.
    pub hidden: bool,
}

impl Default for Permissions {
    fn default() -> Self {
        Self {
            publish: Source::ALL.into(),
            subscribe: true,
            data: true,
            metadata: true,
            moderate: false,
            record: false,
            hidden: false,
        }
    }
}

impl Permissions {
    /// Whether it may send from that source.
    pub fn may_publish(&self, source: Source) -> bool {
        !self.hidden && self.publish.contains(&source)
    }

    /// Whether it may send anything.
    pub fn may_publish_anything(&self) -> bool {
        !self.hidden && !self.publish.is_empty()
    }

    /// Whether it may say something to others.
    pub fn may_talk(&self) -> bool {
        !self.hidden && self.data
    }

    /// Whether it may change what others are told of it.
    pub fn may_change_metadata(&self) -> bool {
        !self.hidden && self.metadata
    }

    /// As `authenticated` and `permissions` of the signaling protocol say it.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        if Source::ALL.iter().all(|own| self.may_publish(*own)) {
            names.push("publish".to_owned());
        } else {
            let sources = self.publish.iter().filter(|own| self.may_publish(**own));
            names.extend(sources.map(|own| format!("publish:{}", own.as_str())));
        }
        let flags = [
            (self.subscribe, "subscribe"),
            (self.may_talk(), "data"),
            (self.may_talk(), "chat"),
            (self.may_change_metadata(), "metadata"),
            (self.moderate, "moderate"),
            (self.record, "record"),
            (self.hidden, "hidden"),
        ];
        let held = flags.into_iter().filter(|(held, _)| *held);
        names.extend(held.map(|(_, name)| name.to_owned()));
        names
    }
}

/// A change of permissions: what is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PermissionChange {
    /// All sources, or none. Before `publish_sources`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<bool>,
    /// Exactly these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish_sources: Option<BTreeSet<Source>>,
    /// See [`Permissions::subscribe`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<bool>,
    /// See [`Permissions::data`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<bool>,
    /// See [`Permissions::metadata`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<bool>,
    /// See [`Permissions::moderate`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moderate: Option<bool>,
    /// See [`Permissions::record`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<bool>,
}

impl PermissionChange {
    /// This change after an earlier one.
    #[must_use]
    pub fn after(&self, earlier: &Self) -> Self {
        let names_sources = self.publish.is_some() || self.publish_sources.is_some();
        let sources = if names_sources { self } else { earlier };
        Self {
            publish: sources.publish,
            publish_sources: sources.publish_sources.clone(),
            subscribe: self.subscribe.or(earlier.subscribe),
            data: self.data.or(earlier.data),
            metadata: self.metadata.or(earlier.metadata),
            moderate: self.moderate.or(earlier.moderate),
            record: self.record.or(earlier.record),
        }
    }

    /// What is left of the change where a token that grants `after` takes the place of one that
    /// granted `before`: what whoever signs tokens has taken away, no change gives back.
    #[must_use]
    pub(crate) fn over(&self, before: &Permissions, after: &Permissions) -> Self {
        let flag =
            |own: Option<bool>, had: bool, has: bool| own.filter(|gives| !gives || has || !had);
        let taken: BTreeSet<Source> = before.publish.difference(&after.publish).copied().collect();
        let given = match (self.publish, &self.publish_sources) {
            (Some(false), _) => Some(BTreeSet::new()),
            (_, Some(sources)) => Some(sources.clone()),
            (Some(true), None) => Some(Source::ALL.into()),
            (None, None) => None,
        };
        Self {
            publish: None,
            publish_sources: given.map(|own| own.difference(&taken).copied().collect()),
            subscribe: flag(self.subscribe, before.subscribe, after.subscribe),
            data: flag(self.data, before.data, after.data),
            metadata: flag(self.metadata, before.metadata, after.metadata),
            moderate: flag(self.moderate, before.moderate, after.moderate),
            record: flag(self.record, before.record, after.record),
        }
    }

    /// The permissions after the change.
    pub fn applied(&self, before: &Permissions) -> Permissions {
        let mut after = before.clone();
        match self.publish {
            Some(true) => after.publish = Source::ALL.into(),
            Some(false) => after.publish.clear(),
            None => {}
        }
        if let Some(sources) = &self.publish_sources
            && self.publish != Some(false)
        {
            after.publish.clone_from(sources);
        }
        after.subscribe = self.subscribe.unwrap_or(before.subscribe);
        after.data = self.data.unwrap_or(before.data);
        after.metadata = self.metadata.unwrap_or(before.metadata);
        after.moderate = self.moderate.unwrap_or(before.moderate);
        after.record = self.record.unwrap_or(before.record);
        after
    }
}

/// As whom somebody is let in. The default is anybody.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// Who it is, to whoever let it in; the others are told.
    pub identity: Option<String>,
    /// What the others call it, whatever it says itself.
    pub name: Option<String>,
    /// What the others are told of it, whatever it says itself.
    pub metadata: Option<Box<RawValue>>,
    /// What it may do.
    pub permissions: Permissions,
    /// The id of its token, by which it can be revoked.
    pub token_id: Option<String>,
    /// When its token was made (time since 1970).
    pub issued_at: Option<Duration>,
    /// When it has to go (time since 1970) unless it shows another token.
    pub expires_at: Option<Duration>,
}

/// What of a participant's media, and of what it says over data channels, is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPermissions {
    /// Whether it gets what others send.
    pub subscribe: bool,
    /// Its sound.
    pub audio: Allowed,
    /// Its pictures.
    pub video: Allowed,
    /// What it says over data channels.
    pub data: bool,
    /// Whether nobody is told that it is there: it gets what is said to all, and cannot be named.
    pub hidden: bool,
    /// Whether it has a connection and is not in the room yet: nothing that happens there is told to
    /// it, and nothing is said to it.
    pub waits: bool,
}

impl MediaPermissions {
    /// Nothing at all.
    pub(crate) fn nothing() -> Self {
        Self {
            subscribe: false,
            audio: Allowed::Streams([].into()),
            video: Allowed::Streams([].into()),
            data: false,
            hidden: false,
            waits: false,
        }
    }

    /// Nothing, until it is let in.
    pub(crate) fn before_entry() -> Self {
        Self {
            waits: true,
            ..Self::nothing()
        }
    }
}

impl Default for MediaPermissions {
    fn default() -> Self {
        Self {
            subscribe: true,
            audio: Allowed::All,
            video: Allowed::All,
            data: true,
            hidden: false,
            waits: false,
        }
    }
}

/// Which tracks of a kind are passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// All of them.
    All,
    /// Those in these MediaStreams, by their ids.
    Streams(BTreeSet<String>),
}

impl Allowed {
    /// Whether a track in that MediaStream is.
    pub fn allows(&self, stream: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Streams(all) => stream.is_some_and(|own| all.contains(own)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_the_names_of_both_protocols() {
        for source in Source::ALL {
            assert_eq!(Source::named(source.as_str()), Some(source));
            let json = serde_json::to_string(&source).unwrap();
            assert_eq!(json, format!("\"{}\"", source.as_str()));
        }
        assert_eq!(
            Source::named("screen_share_audio"),
            Some(Source::ScreenAudio)
        );
        assert_eq!(Source::named("telepathy"), None);
    }

    #[test]
    fn who_is_hidden_sends_and_says_nothing() {
        let hidden = Permissions {
            hidden: true,
            ..Permissions::default()
        };
        assert!(Source::ALL.iter().all(|own| !hidden.may_publish(*own)));
        assert_eq!(hidden.names(), ["subscribe", "hidden"]);
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let change: PermissionChange =
            serde_json::from_str(r#"{"publish_sources":["microphone"],"moderate":true}"#).unwrap();
        let after = change.applied(&Permissions::default());
        assert_eq!(
            after.names(),
            [
                "publish:microphone",
                "subscribe",
                "data",
                "chat",
                "metadata",
                "moderate"
            ]
        );
        let none = PermissionChange {
            publish: Some(false),
            ..PermissionChange::default()
        };
        assert!(!none.applied(&after).may_publish_anything());
        assert!(none.applied(&after).moderate);
        assert!(serde_json::from_str::<PermissionChange>(r#"{"fly":true}"#).is_err());
    }
}
