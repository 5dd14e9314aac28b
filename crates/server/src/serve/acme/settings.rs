//! Settings of certificates by ACME, checked.

use std::net::SocketAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::requests;

/// Let's Encrypt.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Most names in a certificate of Let's Encrypt.
const DOMAINS_MAX: usize = 100;

/// Certificates by ACME. In a file they are the table `[acme]`.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AcmeSettings {
    /// HTTPS with a certificate for this name, from a certificate authority by ACME (RFC 8555),
    /// renewed by itself. Whoever sets it agrees to the terms of that authority. May be repeated.
    #[arg(
        long = "acme-domain",
        value_name = "NAME",
        env = "TWOCAN_ACME_DOMAINS",
        value_delimiter = ','
    )]
    #[serde(rename = "domains", skip_serializing_if = "Vec::is_empty")]
    pub(crate) acme_domains: Vec<String>,

    /// Folder in which the account's key and the certificates are kept.
    #[arg(long, value_name = "FOLDER", env = "TWOCAN_ACME_CACHE")]
    #[serde(rename = "cache", skip_serializing_if = "Option::is_none")]
    pub(crate) acme_cache: Option<PathBuf>,

    /// Whom the authority may write to.
    #[arg(long, value_name = "ADDRESS", env = "TWOCAN_ACME_EMAIL")]
    #[serde(rename = "email", skip_serializing_if = "Option::is_none")]
    pub(crate) acme_email: Option<String>,

    /// Directory of the authority. Default that of Let's Encrypt.
    #[arg(long, value_name = "URL", env = "TWOCAN_ACME_DIRECTORY")]
    #[serde(rename = "directory", skip_serializing_if = "Option::is_none")]
    pub(crate) acme_directory: Option<String>,

    /// Address to which port 80 of the names leads: the authority comes there (HTTP-01), and
    /// browsers are sent on to HTTPS. Default: none, and the authority comes to port 443, which
    /// then leads to --http (TLS-ALPN-01).
    #[arg(long, value_name = "IP:PORT", env = "TWOCAN_ACME_HTTP")]
    #[serde(rename = "http", skip_serializing_if = "Option::is_none")]
    pub(crate) acme_http: Option<SocketAddr>,

    /// Key by which an authority knows its customer (external account binding); the key in
    /// base64url.
    #[arg(
        long,
        value_name = "ID:KEY",
        env = "TWOCAN_ACME_EAB",
        hide_env_values = true
    )]
    #[serde(rename = "eab", skip_serializing_if = "Option::is_none")]
    pub(crate) acme_eab: Option<String>,
}

/// Why settings cannot be used.
#[derive(Debug, Error)]
pub(crate) enum AcmeSettingsError {
    /// Nowhere to keep it.
    #[error(
        "--acme-domain needs --acme-cache, a folder that stays: without one each start would ask for a certificate, of which authorities give few a week"
    )]
    NoCache,
    /// Nothing to get.
    #[error(
        "--acme-cache, --acme-email, --acme-directory, --acme-http and --acme-eab need --acme-domain"
    )]
    NoDomain,
    /// No name.
    #[error(
        "--acme-domain {0:?} is no name of the domain name system such as meet.example.org (others than of ASCII as xn--…)"
    )]
    Domain(String),
    /// An address.
    #[error("--acme-domain {0:?} is an address: certificates are for names")]
    Address(String),
    /// Many names at once.
    #[error(
        "--acme-domain {0:?}: an authority gives such a certificate for records in the domain name system alone (DNS-01), which this server does not write; name each host"
    )]
    Wildcard(String),
    /// Too many.
    #[error("--acme-domain: a certificate has at most {DOMAINS_MAX} names")]
    Domains,
    /// No directory.
    #[error("--acme-directory {0:?} is no https:// address")]
    Directory(String),
    /// No mail address.
    #[error("--acme-email {0:?} is no address such as ann@example.org")]
    Email(String),
    /// The text has a key in it.
    #[error("--acme-eab is not of the form ID:KEY with the key in base64url")]
    Eab,
}

/// Settings with their defaults, checked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AcmePlan {
    /// In lower case and in order, each once.
    pub(super) domains: Vec<String>,
    pub(super) cache: PathBuf,
    pub(super) email: Option<String>,
    pub(super) directory: String,
    pub(super) http: Option<SocketAddr>,
    /// Name and key of the external account.
    pub(super) external: Option<(String, Vec<u8>)>,
}

/// Without the key, which never reaches a log.
impl std::fmt::Debug for AcmePlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AcmePlan")
            .field("domains", &self.domains)
            .field("cache", &self.cache)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// Checks the settings; `None` where no certificate is wanted.
pub(crate) fn plan(own: &AcmeSettings) -> Result<Option<AcmePlan>, AcmeSettingsError> {
    if own.acme_domains.is_empty() {
        let needless = own.acme_cache.is_some()
            || own.acme_email.is_some()
            || own.acme_directory.is_some()
            || own.acme_http.is_some()
            || own.acme_eab.is_some();
        return if needless {
            Err(AcmeSettingsError::NoDomain)
        } else {
            Ok(None)
        };
    }
    let domains = own.acme_domains.iter().map(|text| domain(text));
    let mut domains: Vec<String> = domains.collect::<Result<_, _>>()?;
    domains.sort();
    domains.dedup();
    if domains.len() > DOMAINS_MAX {
        return Err(AcmeSettingsError::Domains);
    }
    let cache = own.acme_cache.clone().ok_or(AcmeSettingsError::NoCache)?;
    let directory = own.acme_directory.as_deref().unwrap_or(DIRECTORY);
    if !directory.starts_with("https://") || !requests::is_address(directory) {
        return Err(AcmeSettingsError::Directory(directory.to_owned()));
    }
    if let Some(email) = &own.acme_email
        && !is_email(email)
    {
        return Err(AcmeSettingsError::Email(email.clone()));
    }
    let external = own.acme_eab.as_deref().map(external_account).transpose()?;
    Ok(Some(AcmePlan {
        domains,
        cache,
        email: own.acme_email.clone(),
        directory: directory.to_owned(),
        http: own.acme_http,
        external,
    }))
}

/// A name of hosts (RFC 1123 §2.1) of at least two labels, in lower case.
fn domain(text: &str) -> Result<String, AcmeSettingsError> {
    let wrong = || AcmeSettingsError::Domain(text.to_owned());
    let name = text.trim().trim_end_matches('.').to_ascii_lowercase();
    if name.starts_with("*.") {
        return Err(AcmeSettingsError::Wildcard(text.to_owned()));
    }
    if name
        .trim_matches(['[', ']'])
        .parse::<std::net::IpAddr>()
        .is_ok()
    {
        return Err(AcmeSettingsError::Address(text.to_owned()));
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if name.len() > 253 || !name.contains('.') || !name.split('.').all(is_label) {
        return Err(wrong());
    }
    Ok(name)
}

/// One address: RFC 8555 §7.3 wants a `mailto:` without more.
fn is_email(text: &str) -> bool {
    let strange = |char: char| !char.is_ascii_graphic() || ",;?&%<>".contains(char);
    text.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && host.contains('.') && !host.contains('@') && !text.contains(strange)
    })
}

fn external_account(text: &str) -> Result<(String, Vec<u8>), AcmeSettingsError> {
    let (id, key) = text.rsplit_once(':').ok_or(AcmeSettingsError::Eab)?;
    let key = URL_SAFE_NO_PAD.decode(key.trim_end_matches('='));
    match key {
        Ok(key) if !id.is_empty() && !key.is_empty() => Ok((id.to_owned(), key)),
        _ => Err(AcmeSettingsError::Eab),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(domains: &[&str]) -> AcmeSettings {
        AcmeSettings {
            acme_domains: domains.iter().map(|name| (*name).to_owned()).collect(),
            acme_cache: Some("cache".into()),
            ..AcmeSettings::default()
        }
    }

    #[test]
    fn names_are_those_of_hosts() {
        let plan = plan(&settings(&[
            "Meet.Example.org.",
            "a.example.org",
            "meet.example.org",
        ]));
        let plan = plan.unwrap().unwrap();
        assert_eq!(plan.domains, ["a.example.org", "meet.example.org"]);
        assert_eq!(plan.directory, DIRECTORY);
        for (text, words) in [
            ("", "no name"),
            ("localhost", "no name"),
            ("a..org", "no name"),
            ("-a.org", "no name"),
            ("bücher.example", "xn--"),
            ("https://example.org", "no name"),
            ("example.org:443", "no name"),
            ("192.0.2.1", "address"),
            ("[2001:db8::1]", "address"),
            ("*.example.org", "DNS-01"),
        ] {
            let error = super::plan(&settings(&[text])).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?}: {error}");
        }
        let many: Vec<String> = (0..101).map(|n| format!("a{n}.example.org")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(super::plan(&settings(&many)).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(plan(&AcmeSettings::default()).unwrap(), None);
        let refused = |own: AcmeSettings| plan(&own).unwrap_err().to_string();
        let own = || settings(&["a.example.org"]);
        let without = AcmeSettings {
            acme_cache: None,
            ..own()
        };
        assert!(refused(without).contains("--acme-cache"));
        assert!(refused(settings(&[])).contains("need --acme-domain"));
        for directory in ["ftp://a", "http://a/directory", "https://"] {
            let acme_directory = Some(directory.to_owned());
            let said = refused(AcmeSettings {
                acme_directory,
                ..own()
            });
            assert!(said.contains("--acme-directory"), "{said}");
        }
        for email in [
            "",
            "ann",
            "@b.org",
            "ann@b",
            "a@b.org,c@d.org",
            "a@b.org?x=y",
        ] {
            let acme_email = Some(email.to_owned());
            assert!(
                refused(AcmeSettings {
                    acme_email,
                    ..own()
                })
                .contains("--acme-email")
            );
        }
        for eab in ["", "a", ":AAAA", "a:", "a:!secret!"] {
            let acme_eab = Some(eab.to_owned());
            let said = refused(AcmeSettings { acme_eab, ..own() });
            assert!(
                said.contains("--acme-eab") && !said.contains("secret"),
                "{said}"
            );
        }
        let whole = AcmeSettings {
            acme_eab: Some("kid-1:AQID".to_owned()),
            acme_email: Some("ann@example.org".to_owned()),
            ..own()
        };
        let whole = plan(&whole).unwrap().unwrap();
        assert_eq!(whole.external, Some(("kid-1".to_owned(), vec![1, 2, 3])));
        assert!(!format!("{whole:?}").contains("1, 2, 3"));
    }
}
