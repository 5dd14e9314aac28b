//! What a token says.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use twocan_room::{Admission, Permissions, Source};

/// The claims of a token (RFC 7519 §4), with the grants of a room in `video`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Claims {
    /// The id of the key, where the header names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iss: Option<String>,
    /// The identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<String>,
    /// By which it can be revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jti: Option<String>,
    /// Until when.
    #[serde(with = "numeric_date", skip_serializing_if = "Option::is_none")]
    pub(crate) exp: Option<Duration>,
    /// From when.
    #[serde(with = "numeric_date", skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<Duration>,
    /// Made when.
    #[serde(with = "numeric_date", skip_serializing_if = "Option::is_none")]
    pub(crate) iat: Option<Duration>,
    /// What the others call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// What the others are told of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Value>,
    /// What it may do.
    pub(crate) video: Grant,
    /// Of the body that this token is about, in base64: webhooks have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

/// Grants, by the names that users of LiveKit know.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Grant {
    /// The room that `roomJoin` and `roomAdmin` are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) room: Option<String>,
    /// May join the room.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) room_join: bool,
    /// May moderate the room, in it and through the administration's API.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) room_admin: bool,
    /// May make and close rooms.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) room_create: bool,
    /// May list rooms.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) room_list: bool,
    /// May record the room.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) room_record: bool,
    /// May send. Default yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) can_publish: Option<bool>,
    /// May send these alone: `microphone`, `camera`, `screen_share`, `screen_share_audio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) can_publish_sources: Option<Vec<String>>,
    /// Gets what others send. Default yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) can_subscribe: Option<bool>,
    /// May say something to others. Default yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) can_publish_data: Option<bool>,
    /// May change its own name and metadata, where the token does not say them. Default no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) can_update_own_metadata: Option<bool>,
    /// Nobody is told of it.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) hidden: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Grant {
    fn permissions(&self) -> Permissions {
        let publish = match (self.can_publish, &self.can_publish_sources) {
            (Some(false), _) => [].into(),
            (_, Some(names)) => names.iter().filter_map(|own| Source::named(own)).collect(),
            (_, None) => Source::ALL.into(),
        };
        Permissions {
            publish,
            subscribe: self.can_subscribe.unwrap_or(true),
            data: self.can_publish_data.unwrap_or(true),
            metadata: self.can_update_own_metadata.unwrap_or(false),
            moderate: self.room_admin,
            record: self.room_record,
            hidden: self.hidden,
        }
    }
}

impl Claims {
    /// As whom the token lets somebody into a room; `None` where it does not.
    pub(crate) fn admission(&self, room: &str, leeway: Duration) -> Option<Admission> {
        let is_of_room = self.video.room.as_deref() == Some(room);
        if !self.video.room_join || !is_of_room {
            return None;
        }
        let metadata = self.metadata.as_ref();
        Some(Admission {
            identity: self.sub.clone(),
            name: self.name.clone(),
            metadata: metadata.and_then(|own| serde_json::value::to_raw_value(own).ok()),
            permissions: self.video.permissions(),
            token_id: self.jti.clone(),
            issued_at: self.iat,
            expires_at: self.exp.map(|ends| ends.saturating_add(leeway)),
        })
    }
}

/// Seconds since 1970, with or without a fraction (RFC 7519 §2).
mod numeric_date {
    use super::{Deserialize, Deserializer, Duration, Serializer};
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(
        date: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match date {
            Some(date) => serializer.serialize_u64(date.as_secs()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds: Option<f64> = Option::deserialize(deserializer)?;
        let date = |seconds| Duration::try_from_secs_f64(seconds);
        seconds.map(date).transpose().map_err(D::Error::custom)
    }
}
