//! Settings read again on SIGHUP. No session ends by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Shared;
use super::settings::{Settings, SettingsError};
use super::tokens_settings::TokenSettings;
use super::turn::TurnPlan;

/// Reads the file again at each SIGHUP, for as long as the process runs. Without a file nothing can
/// have changed, and SIGHUP ends the process as ever.
pub(crate) async fn on_hangup(settings: Settings, shared: Arc<Shared>) {
    if settings.config.is_none() {
        return;
    }
    let kind = tokio::signal::unix::SignalKind::hangup();
    let (mut hangups, mut known) = match (tokio::signal::unix::signal(kind), settings.merged()) {
        (Ok(hangups), Ok(known)) => (hangups, known),
        (Err(error), _) => return tracing::error!(%error, "no signals"),
        (_, Err(error)) => return tracing::error!(%error, "settings"),
    };
    while hangups.recv().await.is_some() {
        match read_again(&settings, &known) {
            Ok(again) => {
                if let Err(error) = shared.access.reconfigure(&again.settings) {
                    let error = with_causes(&error);
                    tracing::error!(error, "the keys before stay");
                }
                if let (Some(turn), Some(plan)) = (&shared.turn, &again.turn) {
                    // The rooms go on making credentials from the secret of the start.
                    let first = shared.plan.hall.ice_servers.turn_secret.clone();
                    let secrets = first.into_iter().chain(again.secret);
                    turn.reconfigure(plan, secrets.collect()).await;
                }
                if !again.ignored.is_empty() {
                    let ignored = again.ignored.join(", ");
                    tracing::warn!(ignored, "these settings count after a restart");
                }
                known = again.settings;
                tracing::info!("settings read again");
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(error, "the settings cannot be used; those before stay");
            }
        }
    }
}

/// What a file says that has changed.
struct Again {
    settings: Settings,
    turn: Option<TurnPlan>,
    secret: Option<String>,
    /// Names of settings that have changed and do not count yet.
    ignored: Vec<String>,
}

fn read_again(given: &Settings, known: &Settings) -> Result<Again, SettingsError> {
    let fresh = given.merged()?;
    // All of it must make sense.
    fresh.clone().checked()?;
    let settings = known.with_changeable_of(&fresh);
    let ignored = settings.differences(&fresh)?;
    let plan = settings.clone().checked()?;
    Ok(Again {
        settings,
        turn: plan.turn,
        secret: plan.hall.ice_servers.turn_secret,
        ignored,
    })
}

impl Settings {
    /// These, with what may change while the server runs as `fresh` has it.
    pub(crate) fn with_changeable_of(&self, fresh: &Self) -> Self {
        Self {
            turn_users: fresh.turn_users.clone(),
            turn_secret: fresh.turn_secret.clone(),
            turn_allow: fresh.turn_allow.clone(),
            turn_peer_relay: fresh.turn_peer_relay,
            no_turn_mobility: fresh.no_turn_mobility,
            turn_tcp_relay: fresh.turn_tcp_relay,
            turn_per_user: fresh.turn_per_user,
            turn_per_address: fresh.turn_per_address,
            turn_total: fresh.turn_total,
            turn_bandwidth: fresh.turn_bandwidth,
            turn_bandwidth_per_user: fresh.turn_bandwidth_per_user,
            turn_bandwidth_total: fresh.turn_bandwidth_total,
            tokens: TokenSettings {
                token_keys: fresh.tokens.token_keys.clone(),
                ..self.tokens.clone()
            },
            ..self.clone()
        }
    }

    /// The names of settings that are others in `fresh`.
    pub(crate) fn differences(&self, fresh: &Self) -> Result<Vec<String>, SettingsError> {
        let texts = |settings: &Self| {
            let made = config::Config::try_from(settings).map_err(Box::new)?;
            made.try_deserialize::<BTreeMap<String, serde_json::Value>>()
                .map_err(Box::new)
        };
        let (own, fresh) = (texts(self)?, texts(fresh)?);
        let names: BTreeSet<&String> = own.keys().chain(fresh.keys()).collect();
        let changed = names
            .into_iter()
            .filter(|name| own.get(*name) != fresh.get(*name));
        Ok(changed.cloned().collect())
    }
}

/// An error with what caused it, in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
