//! What is kept in a folder: the account, and a certificate with its key. Nobody else may read it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twocan_proto::crypto::Hash;

use super::settings::AcmePlan;

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    account: PathBuf,
    certificate: PathBuf,
}

/// The account with a CA.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAccount {
    /// The address that the CA has.
    pub(super) email: Option<String>,
    /// Its name and key, as the client writes them.
    pub(super) credentials: serde_json::Value,
}

impl Cache {
    /// Makes the folder where there is none, and sees whether it can be written to.
    pub(super) fn open(plan: &AcmePlan) -> Result<Self, (PathBuf, io::Error)> {
        let own = |error| (plan.cache.clone(), error);
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&plan.cache).map_err(own)?;
        let probe = plan.cache.join(".twocan-probe");
        write(&probe, b"").map_err(own)?;
        fs::remove_file(&probe).map_err(own)?;
        // A folder may serve several authorities, such as one for trying, and several servers.
        let account = digest(&[plan.directory.as_str()]);
        let names = plan.domains.iter().map(String::as_str);
        let names: Vec<&str> = [plan.directory.as_str()].into_iter().chain(names).collect();
        let first = plan.domains.first().map_or("", String::as_str);
        let certificate = format!("certificate-{first}-{}.pem", digest(&names));
        Ok(Self {
            account: plan.cache.join(format!("account-{account}.json")),
            certificate: plan.cache.join(certificate),
        })
    }

    /// Where the certificate is.
    pub(super) fn certificate_path(&self) -> &Path {
        &self.certificate
    }

    /// Where the account is.
    pub(super) fn account_path(&self) -> &Path {
        &self.account
    }

    /// Key and chain in PEM, if there are any.
    pub(super) fn certificate(&self) -> io::Result<Option<String>> {
        read(&self.certificate)
    }

    pub(super) fn keep_certificate(&self, pem: &str) -> io::Result<()> {
        write(&self.certificate, pem.as_bytes())
    }

    /// The account, if there is one.
    pub(super) fn account(&self) -> io::Result<Option<KeptAccount>> {
        let Some(text) = read(&self.account)? else {
            return Ok(None);
        };
        let kept = serde_json::from_str(&text);
        kept.map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    pub(super) fn keep_account(&self, account: &KeptAccount) -> io::Result<()> {
        write(&self.account, &serde_json::to_vec(account)?)
    }
}

fn digest(texts: &[&str]) -> String {
    let digest = Hash::Sha256.digest(texts.join("\n").as_bytes());
    digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The whole file or none of it, even where the machine loses power; for this user alone.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!("{name}.{}.new", std::process::id()));
    // One of an earlier process of this number: its mode may be another.
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let moved = written.and_then(|()| fs::rename(&fresh, path));
    if moved.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_kept_is_for_this_user_alone_and_for_these_names() {
        let folder = std::env::temp_dir().join(format!("twocan-acme-{}", std::process::id()));
        let plan = |domains: &[&str]| AcmePlan {
            domains: domains.iter().map(|name| (*name).to_owned()).collect(),
            cache: folder.join("deep"),
            email: None,
            directory: "https://ca.example/directory".to_owned(),
            http: None,
            external: None,
        };
        let cache = Cache::open(&plan(&["a.example.org"])).unwrap();
        assert!(cache.certificate().unwrap().is_none());
        assert!(cache.account().unwrap().is_none());
        cache.keep_certificate("key and chain").unwrap();
        cache.keep_certificate("another").unwrap();
        assert_eq!(cache.certificate().unwrap().as_deref(), Some("another"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&cache.certificate), 0o600);
        assert_eq!(mode(&folder.join("deep")), 0o700);
        assert_eq!(fs::read_dir(folder.join("deep")).unwrap().count(), 1);
        let other = Cache::open(&plan(&["a.example.org", "b.example.org"])).unwrap();
        assert!(other.certificate().unwrap().is_none());
        fs::write(cache.account_path(), "{").unwrap();
        assert!(cache.account().is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
