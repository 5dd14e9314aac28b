//! One certificate: account, order, proofs, request, chain (RFC 8555 §7).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, ExternalAccountKey, Identifier,
    KeyAuthorization, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::AcmeError;
use super::cache::{Cache, KeptAccount};
use super::certificate::Certificate;
use super::served::{Served, Showing};
use super::settings::AcmePlan;
use super::transport::Transport;

/// How long a CA may take to see a proof, or to sign.
const POLLED: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.3)
    .timeout(Duration::from_secs(240));

/// The CA that has never heard of our account, or no longer knows it.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// What it takes to get one.
pub(super) struct Orders {
    pub(super) plan: AcmePlan,
    pub(super) cache: Cache,
    pub(super) served: Arc<Served>,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) transport: Transport,
    /// Where a CA comes to, for those who read that it did not get through.
    pub(super) listens: std::net::SocketAddr,
}

impl Orders {
    /// Gets a certificate and keeps it.
    pub(super) async fn obtain(&self) -> Result<Certificate, AcmeError> {
        let names = self.plan.domains.iter().cloned();
        let names: Vec<Identifier> = names.map(Identifier::Dns).collect();
        let wanted = NewOrder::new(&names);
        let account = self.account().await?;
        let mut order = match account.new_order(&wanted).await {
            Err(error) if is_of_type(&error, NO_ACCOUNT) => {
                tracing::warn!(
                    "the certificate authority does not know our account: a new one is made"
                );
                let account = self.new_account().await?;
                account.new_order(&wanted).await
            }
            order => order,
        }
        .map_err(|error| self.refused("an order", error))?;
        let mut showing = self.served.showing();
        self.prove(&mut order, &mut showing).await?;
        let status = match order.poll_ready(&POLLED).await {
            Ok(status) => status,
            Err(Error::Api(_)) => OrderStatus::Invalid,
            Err(error) => return Err(self.refused("the order", error)),
        };
        if status == OrderStatus::Invalid {
            return Err(self.unproven(&mut order).await);
        }
        drop(showing);
        self.finish(&mut order).await
    }

    /// The account that is kept, or a new one.
    async fn account(&self) -> Result<Account, AcmeError> {
        let unusable = |source| AcmeError::kept(self.cache.account_path(), source);
        let Some(kept) = self.cache.account().map_err(unusable)? else {
            return self.new_account().await;
        };
        let credentials = serde_json::from_value(kept.credentials.clone());
        let credentials = credentials.map_err(|error| unusable(error.into()))?;
        let builder = Account::builder_with_http(Box::new(self.transport.clone()));
        let account = builder.from_credentials(credentials).await;
        let account = account.map_err(|error| self.refused("the directory", error))?;
        if kept.email != self.plan.email {
            let contact = self.contact();
            let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
            match account.update_contacts(&contact).await {
                Ok(()) => {
                    let email = self.plan.email.clone();
                    let kept = KeptAccount { email, ..kept };
                    self.cache.keep_account(&kept).map_err(unusable)?;
                }
                Err(error) if is_of_type(&error, NO_ACCOUNT) => return self.new_account().await,
                Err(error) => return Err(self.refused("the address of --acme-email", error)),
            }
        }
        Ok(account)
    }

    async fn new_account(&self) -> Result<Account, AcmeError> {
        let contact = self.contact();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let asked = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external = self.plan.external.as_ref();
        let external = external.map(|(id, key)| ExternalAccountKey::new(id.clone(), key));
        let builder = Account::builder_with_http(Box::new(self.transport.clone()));
        let made = builder.create(&asked, self.plan.directory.clone(), external.as_ref());
        let (account, credentials) = made
            .await
            .map_err(|error| self.refused("an account", error))?;
        let unusable = |source| AcmeError::kept(self.cache.account_path(), source);
        let credentials = serde_json::to_value(credentials);
        let kept = KeptAccount {
            email: self.plan.email.clone(),
            credentials: credentials.map_err(|error| unusable(error.into()))?,
        };
        self.cache.keep_account(&kept).map_err(unusable)?;
        Ok(account)
    }

    fn contact(&self) -> Vec<String> {
        let email = self.plan.email.iter();
        email.map(|email| format!("mailto:{email}")).collect()
    }

    /// Shows for each name what the CA asks for, and tells it so.
    async fn prove(&self, order: &mut Order, showing: &mut Showing) -> Result<(), AcmeError> {
        let kind = self.challenge();
        let mut authorizations = order.authorizations();
        while let Some(next) = authorizations.next().await {
            let refused = |error| self.refused("the authorization", error);
            let mut authorization = next.map_err(refused)?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                // The order is invalid as well: what it says is more.
                _ => break,
            }
            let Identifier::Dns(name) = authorization.identifier().identifier.clone() else {
                return Err(AcmeError::Strange);
            };
            // The name goes into a certificate of ours: none but those that were asked for.
            if !self.plan.domains.contains(&name) {
                return Err(AcmeError::Strange);
            }
            let offered = authorization.challenges.iter();
            let offered: Vec<String> = offered.map(|own| format!("{:?}", own.r#type)).collect();
            let Some(mut challenge) = authorization.challenge(kind.clone()) else {
                return Err(AcmeError::NotOffered {
                    domain: name,
                    wanted: format!("{kind:?}"),
                    offered: offered.join(", "),
                });
            };
            let answer = challenge.key_authorization();
            match kind {
                ChallengeType::Http01 => {
                    let token = challenge.token.clone();
                    showing.show_answer(token, answer.as_str().to_owned());
                }
                _ => {
                    let certificate = self.challenge_certificate(&name, &answer)?;
                    showing.show_certificate(name, certificate);
                }
            }
            challenge.set_ready().await.map_err(refused)?;
        }
        Ok(())
    }

    /// How a name is proved to be ours: where the CA is to come to decides.
    fn challenge(&self) -> ChallengeType {
        match self.plan.http {
            Some(_) => ChallengeType::Http01,
            None => ChallengeType::TlsAlpn01,
        }
    }

    /// RFC 8737 §3: signed by itself, with the digest of the key authorization.
    fn challenge_certificate(
        &self,
        name: &str,
        answer: &KeyAuthorization,
    ) -> Result<CertifiedKey, AcmeError> {
        let mut asked =
            rcgen::CertificateParams::new(vec![name.to_owned()]).map_err(AcmeError::Made)?;
        let extension = rcgen::CustomExtension::new_acme_identifier(answer.digest().as_ref());
        asked.custom_extensions = vec![extension];
        let key = rcgen::KeyPair::generate().map_err(AcmeError::Made)?;
        let made = asked.self_signed(&key).map_err(AcmeError::Made)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = self.provider.key_provider.load_private_key(key);
        let key = key.map_err(|error| AcmeError::Certificate(error.into()))?;
        // Not held against the certificate, whose critical extension TLS does not know.
        Ok(CertifiedKey::new(vec![made.der().clone()], key))
    }

    /// Why the order is invalid, by name.
    async fn unproven(&self, order: &mut Order) -> AcmeError {
        let kind = self.challenge();
        let mut said = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else {
                continue;
            };
            let name = state.identifier().to_string();
            let errors = state.challenges.iter().filter_map(|own| own.error.as_ref());
            said.extend(errors.map(|error| {
                let detail = error.detail.clone().unwrap_or_default();
                (name.clone(), detail)
            }));
        }
        if let Some((domain, detail)) = said.into_iter().next() {
            let (port, at) = match (kind, self.plan.http) {
                (ChallengeType::Http01, Some(http)) => (80, http),
                _ => (443, self.listens),
            };
            return AcmeError::Unproven {
                domain,
                detail,
                port,
                at,
            };
        }
        match order.state().error.clone() {
            Some(problem) => self.refused("the order", Error::Api(problem)),
            None => AcmeError::Strange,
        }
    }

    /// A new key and a request for it, then the chain.
    async fn finish(&self, order: &mut Order) -> Result<Certificate, AcmeError> {
        let mut asked =
            rcgen::CertificateParams::new(self.plan.domains.clone()).map_err(AcmeError::Made)?;
        asked.distinguished_name = rcgen::DistinguishedName::new();
        let key = rcgen::KeyPair::generate().map_err(AcmeError::Made)?;
        let request = asked.serialize_request(&key).map_err(AcmeError::Made)?;
        let refused = |error| self.refused("the certificate", error);
        order.finalize_csr(request.der()).await.map_err(refused)?;
        let chain = order.poll_certificate(&POLLED).await.map_err(refused)?;
        let pem = format!("{}{chain}", key.serialize_pem());
        let certificate =
            Certificate::read(&pem, &self.provider).map_err(AcmeError::Certificate)?;
        let names = certificate.check_names(&self.plan.domains);
        names.map_err(AcmeError::Certificate)?;
        let kept = self.cache.keep_certificate(&pem);
        kept.map_err(|source| AcmeError::kept(self.cache.certificate_path(), source))?;
        Ok(certificate)
    }

    fn refused(&self, what: &'static str, source: Error) -> AcmeError {
        let directory = self.plan.directory.clone();
        let is_theirs = |status: Option<u16>| status.is_some_and(|status| status >= 500);
        match source {
            Error::Api(problem) if !is_theirs(problem.status) => AcmeError::Refused {
                what,
                domains: self.plan.domains.join(", "),
                source: problem.into(),
            },
            source => AcmeError::Unreached {
                directory,
                what,
                source: source.into(),
            },
        }
    }
}

fn is_of_type(error: &Error, name: &str) -> bool {
    matches!(error, Error::Api(problem) if problem.r#type.as_deref() == Some(name))
}
