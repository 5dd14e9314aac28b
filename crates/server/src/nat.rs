//! `twocan nat URL`: how the address translator in front of this machine behaves.

use clap::Args;
use serde_json::json;
use thiserror::Error;
use twocan::{Behaviour, NatBehaviour, NatError, Untold};

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// STUN server, stun:HOST or stun:HOST:PORT; with two addresses (RFC 5780) it tells
    /// everything, with one whether there is a translator
    #[arg(value_name = "URL")]
    url: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    #[error("the runtime cannot start")]
    Runtime(#[from] std::io::Error),
    #[error(transparent)]
    Nat(#[from] NatError),
    /// The report says so as well.
    #[error("nothing came back: no STUN server is there, or UDP is blocked")]
    Silent,
}

/// Asks and prints; a server that does not answer is an error after the report.
pub(crate) fn run(arguments: &Arguments) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(twocan::nat_behaviour(&arguments.url))?;
    let text = if arguments.json {
        as_json(&found).to_string()
    } else {
        as_text(&found)
    };
    print(&text);
    if found.mapped.is_none() {
        return Err(RunError::Silent);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the output of a command-line program")]
fn print(text: &str) {
    println!("{text}");
}

fn as_json(found: &NatBehaviour) -> serde_json::Value {
    let told = |behaviour: Result<Behaviour, Untold>| match behaviour {
        Ok(behaviour) => json!({ "behaviour": behaviour.name() }),
        Err(why) => json!({ "behaviour": null, "reason": why.to_string() }),
    };
    json!({
        "server": found.server,
        "other": found.other,
        "local": found.local,
        "mapped": found.mapped,
        "translated": found.is_translated(),
        "mapping": told(found.mapping),
        "filtering": told(found.filtering),
    })
}

fn as_text(found: &NatBehaviour) -> String {
    let address = |address: Option<std::net::SocketAddr>| {
        address.map_or_else(|| "none".to_owned(), |address| address.to_string())
    };
    let translated = match found.is_translated() {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    let told = |behaviour: Result<Behaviour, Untold>| match behaviour {
        Ok(behaviour) => behaviour.to_string(),
        Err(why) => format!("unknown: {why}"),
    };
    let lines = [
        ("server", found.server.to_string()),
        ("second address", address(found.other)),
        ("local address", found.local.to_string()),
        ("outer address", address(found.mapped)),
        ("translated", translated.to_owned()),
        ("mapping", told(found.mapping)),
        ("filtering", told(found.filtering)),
        ("meaning", meaning(found).to_owned()),
    ];
    let lines = lines.map(|(name, value)| format!("{name:<15} {value}"));
    lines.join("\n")
}

/// What it comes to for calls.
fn meaning(found: &NatBehaviour) -> &'static str {
    use Behaviour::{AddressAndPortDependent, EndpointIndependent};
    if found.mapped.is_none() {
        return "UDP does not get through: calls need TCP or a relay over TCP";
    }
    match (found.mapping, found.filtering) {
        (Ok(EndpointIndependent), Ok(EndpointIndependent)) => {
            "anybody who learns the outer address reaches it"
        }
        (Ok(EndpointIndependent), Ok(_)) => {
            "direct calls with everybody whose outer address can be foreseen"
        }
        (Ok(EndpointIndependent), Err(_)) => "direct calls are likely; who may call in is unknown",
        (Ok(AddressAndPortDependent | Behaviour::AddressDependent), _) => {
            "each peer sees another address: direct calls with those who let strangers in, a relay \
             for the others"
        }
        (Err(_), _) => "whether direct calls work cannot be told with this server",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_says_why() {
        let found = NatBehaviour {
            server: "192.0.2.1:3478".parse().unwrap(),
            other: None,
            local: "10.0.0.2:4000".parse().unwrap(),
            mapped: Some("198.51.100.1:20000".parse().unwrap()),
            mapping: Err(Untold::NoOtherAddress),
            filtering: Err(Untold::NoOtherAddress),
        };
        let text = as_text(&found);
        assert!(text.contains("translated      yes"), "{text}");
        let line = "mapping         unknown: the server has no second address (RFC 5780)";
        assert!(text.lines().any(|own| own == line), "{text}");
        let value = as_json(&found);
        assert_eq!(value["translated"], true);
        assert_eq!(value["mapped"], "198.51.100.1:20000");
        assert_eq!(value["mapping"]["behaviour"], serde_json::Value::Null);
        let told = NatBehaviour {
            mapping: Ok(Behaviour::AddressDependent),
            ..found
        };
        assert_eq!(as_json(&told)["mapping"]["behaviour"], "address-dependent");
    }
}
