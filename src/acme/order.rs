//! One order: the account, the name shown to be ours, a fresh key, the certificate.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::account::account;
use super::proof::Proof;
use super::shelf::Shelf;
use super::{AcmeError, Host};
use crate::model::settings::{AcmeChallenge, AcmeSettings};

/// How long the authority may take to look, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(90));

/// Obtains a certificate for a name and keeps it.
pub(super) async fn obtain(
    settings: &AcmeSettings,
    shelf: &Shelf,
    host: &Arc<dyn Host>,
    name: &str,
) -> Result<(), AcmeError> {
    let account = account(settings, shelf).await?;
    let mut order = order(&account, name).await?;
    {
        // Answered until the authority has looked, however that ends.
        let _answers = prove(&mut order, settings.challenge, host, name).await?;
        let asking = |cause| AcmeError::Asking { what: "the authority gave no answer to the order", cause };
        match order.poll_ready(&PATIENCE).await.map_err(asking)? {
            OrderStatus::Ready => {}
            OrderStatus::Pending | OrderStatus::Processing | OrderStatus::Valid | OrderStatus::Invalid => {
                return Err(AcmeError::NotProven(why_not(&mut order).await));
            }
        }
    }
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate()?;
    let request = params.serialize_request(&key)?;
    let asking = |cause| AcmeError::Asking { what: "the authority gave no certificate", cause };
    order.finalize_csr(request.der()).await.map_err(asking)?;
    let chain = order.poll_certificate(&PATIENCE).await.map_err(asking)?;
    shelf.keep_certificate(name, &(key.serialize_pem() + &chain))?;
    tracing::info!(name, "acme: certificate obtained");
    Ok(())
}

async fn order(account: &Account, name: &str) -> Result<Order, AcmeError> {
    let identifiers = [Identifier::Dns(name.to_owned())];
    let order = account.new_order(&NewOrder::new(&identifiers)).await;
    order.map_err(|cause| AcmeError::Asking { what: "the authority took no order", cause })
}

/// Proofs that the host gives until this is dropped.
struct Answers {
    host: Arc<dyn Host>,
    proofs: Vec<Proof>,
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.proofs.iter().for_each(|proof| self.host.forget(proof));
    }
}

/// Has every challenge of the order answered and tells the authority so.
async fn prove(order: &mut Order, way: AcmeChallenge, host: &Arc<dyn Host>, name: &str) -> Result<Answers, AcmeError> {
    let asking = |cause| AcmeError::Asking { what: "the authority told no challenge", cause };
    let mut answers = Answers { host: Arc::clone(host), proofs: Vec::new() };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(asking)?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let kind = match way {
            AcmeChallenge::Http01 => ChallengeType::Http01,
            AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        };
        let unsupported = || asking(instant_acme::Error::Unsupported("the challenge that acme.challenge names"));
        let mut challenge = authorization.challenge(kind).ok_or_else(unsupported)?;
        let proof = match way {
            AcmeChallenge::Http01 => Proof::http(&challenge.token, &challenge.key_authorization()),
            AcmeChallenge::TlsAlpn01 => Proof::tls(name, &challenge.key_authorization())?,
        };
        host.answer(&proof);
        answers.proofs.push(proof);
        challenge.set_ready().await.map_err(asking)?;
    }
    Ok(answers)
}

/// Returns what the authority says of challenges that failed.
async fn why_not(order: &mut Order) -> String {
    let mut said = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if let Ok(state) = authorization.refresh().await {
            let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
            said.extend(problems.map(ToString::to_string));
        }
    }
    if said.is_empty() { "it does not say why".to_owned() } else { said.join("; ") }
}
