//! Settings of tokens and administration, checked.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::settings::{Settings, SettingsError};
use crate::requests;
use crate::tokens::{Keys, Signer};

/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 10;

/// Who may join and administer. In a file they are the table `[tokens]`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TokenSettings {
    /// Key of join tokens: ID:HS256:SECRET, or ID:ES256:FILE and ID:EdDSA:FILE with a public key
    /// in PEM. With one, a room is joined with a token alone. May be repeated.
    #[arg(
        long = "token-key",
        value_name = "ID:ALGORITHM:SECRET-OR-FILE",
        env = "TWOCAN_TOKEN_KEYS",
        value_delimiter = ',',
        hide_env_values = true
    )]
    #[serde(rename = "keys", skip_serializing_if = "Vec::is_empty")]
    pub(crate) token_keys: Vec<String>,

    /// Let everybody join who shows nothing, though there are keys.
    #[arg(long, env = "TWOCAN_OPEN_ROOMS", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open_rooms: Option<bool>,

    /// Seconds that a token counts before and after its time. Default 10.
    #[arg(
        long = "token-leeway",
        value_name = "SECONDS",
        env = "TWOCAN_TOKEN_LEEWAY"
    )]
    #[serde(rename = "leeway", skip_serializing_if = "Option::is_none")]
    pub(crate) token_leeway: Option<u64>,

    /// Bearer token that may administer everything.
    #[arg(
        long,
        value_name = "TEXT",
        env = "TWOCAN_ADMIN_SECRET",
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin_secret: Option<String>,
}

/// What holds.
#[derive(Debug, Clone)]
pub(crate) struct TokenPlan {
    pub(super) keys: Keys,
    pub(super) open_rooms: bool,
    pub(super) leeway: Duration,
    pub(super) admin_secret: Option<String>,
}

impl TokenPlan {
    /// Whether a room is joined with a token alone.
    pub(super) fn closes_rooms(&self) -> bool {
        !self.keys.is_empty() && !self.open_rooms
    }
}

/// Checks the settings.
pub(super) fn plan(settings: &Settings) -> Result<TokenPlan, SettingsError> {
    let own = &settings.tokens;
    if own.admin_secret.as_ref().is_some_and(String::is_empty) {
        return Err(SettingsError::EmptyAdminSecret);
    }
    if own.admin_secret.is_some() && own.admin_secret == settings.secret {
        return Err(SettingsError::OneSecret);
    }
    Ok(TokenPlan {
        keys: Keys::read(&own.token_keys)?,
        open_rooms: own.open_rooms.unwrap_or(false),
        leeway: Duration::from_secs(own.token_leeway.unwrap_or(LEEWAY)),
        admin_secret: own.admin_secret.clone(),
    })
}

/// Who is told what happens in the rooms. In a file they are the table `[webhooks]`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WebhookSettings {
    /// Address that is told what happens in the rooms, by POST. May be repeated.
    #[arg(
        long = "webhook-url",
        value_name = "URL",
        env = "TWOCAN_WEBHOOK_URLS",
        value_delimiter = ','
    )]
    #[serde(rename = "urls", skip_serializing_if = "Vec::is_empty")]
    pub(crate) webhook_urls: Vec<String>,

    /// Key that webhooks are signed with, as --token-key, with a private key.
    #[arg(
        long = "webhook-key",
        value_name = "ID:ALGORITHM:SECRET-OR-FILE",
        env = "TWOCAN_WEBHOOK_KEY",
        hide_env_values = true
    )]
    #[serde(rename = "key", skip_serializing_if = "Option::is_none")]
    pub(crate) webhook_key: Option<String>,
}

/// Who is told.
#[derive(Debug, Clone)]
pub(crate) struct WebhookPlan {
    pub(super) urls: Vec<String>,
    pub(super) signer: Signer,
}

/// Checks the settings.
pub(super) fn webhooks(settings: &Settings) -> Result<Option<WebhookPlan>, SettingsError> {
    let own = &settings.webhooks;
    if own.webhook_urls.is_empty() {
        return Ok(None);
    }
    let wrong = own
        .webhook_urls
        .iter()
        .find(|url| !requests::is_address(url));
    if let Some(wrong) = wrong {
        return Err(SettingsError::WebhookUrl(wrong.clone()));
    }
    let key = own.webhook_key.as_ref();
    let key = key.ok_or(SettingsError::NoWebhookKey)?;
    Ok(Some(WebhookPlan {
        urls: own.webhook_urls.clone(),
        signer: Signer::read(key)?,
    }))
}
