//! One certificate, from the account to the chain.

use std::time::Duration;
use std::{fmt, io};

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::client::Client;
use super::{Challenges, State};
use crate::config::AcmeSettings;
use crate::names::Names;

/// How long the authority may take to check the names, and to sign.
const POLLS: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// Why there is no certificate.
#[derive(Debug)]
pub(super) enum Failure {
    /// The authority could not be asked at all.
    Unreachable(String),
    /// It refused, or did not do as RFC 8555 says.
    Refused(String),
    /// It could not prove a name: DNS, a firewall, or another service on port 443.
    Unproven(String),
    /// It took too long in all.
    Late,
    /// The state directory cannot be written.
    State(io::Error),
}

/// A new key with its chain, in one PEM text.
pub(super) async fn place(
    settings: &AcmeSettings,
    state: &State,
    challenges: &Challenges,
    names: &Names,
) -> Result<String, Failure> {
    state.make().map_err(Failure::State)?;
    let client = Client::new(settings, names).map_err(|it| Failure::Unreachable(it.to_string()))?;
    let account = account(settings, state, &client).await?;
    let identifiers: Vec<Identifier> = settings
        .domains
        .iter()
        .cloned()
        .map(Identifier::Dns)
        .collect();
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    prove(&mut order, challenges).await?;
    match order.poll_ready(&POLLS).await {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(Failure::Unproven(objections(&mut order).await)),
        Err(Error::Api(problem)) if !is_passing(&problem) => {
            let reason = problem
                .detail
                .unwrap_or_else(|| "for no reason it names".to_owned());
            return Err(Failure::Unproven(reason));
        }
        Err(error) => return Err(error.into()),
    }
    let (key, request) =
        request(&settings.domains).map_err(|it| Failure::Refused(it.to_string()))?;
    order.finalize_csr(&request).await?;
    let chain = order.poll_certificate(&POLLS).await?;
    Ok(format!("{chain}\n{key}"))
}

/// The account of before, or a new one.
async fn account(
    settings: &AcmeSettings,
    state: &State,
    client: &Client,
) -> Result<Account, Failure> {
    let builder = || Account::builder_with_http(Box::new(client.clone()));
    let contact: Vec<&str> = settings.contact.as_deref().into_iter().collect();
    if let Some(credentials) = state.account() {
        let account = builder().from_credentials(credentials).await?;
        // An authority that has forgotten its accounts says so to any question.
        match account.update_contacts(&contact).await {
            Ok(()) => return Ok(account),
            Err(error) if is_unknown_account(&error) => {
                tracing::warn!("the authority does not know the account; making a new one");
                state.drop_account().map_err(Failure::State)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let directory = settings.directory.to_string();
    let (account, credentials) = builder().create(&new, directory, None).await?;
    state.write_account(&credentials).map_err(Failure::State)?;
    Ok(account)
}

fn is_unknown_account(error: &Error) -> bool {
    let Error::Api(problem) = error else {
        return false;
    };
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.ends_with(":accountDoesNotExist")
}

/// Whether the authority says that it is not the request's fault (RFC 8555 section 6.7).
fn is_passing(problem: &Problem) -> bool {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let by_status = problem
        .status
        .is_some_and(|status| (500..600).contains(&status));
    by_status || kind.ends_with(":badNonce") || kind.ends_with(":serverInternal")
}

/// Has an answer ready for each name, and asks the authority to come and see.
async fn prove(order: &mut Order, challenges: &Challenges) -> Result<(), Failure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            status => return Err(Failure::Refused(format!("an authorization is {status:?}"))),
        }
        let Identifier::Dns(domain) = authorization.identifier().identifier.clone() else {
            return Err(Failure::Refused(
                "asked to prove what is no DNS name".to_owned(),
            ));
        };
        let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(Failure::Refused(
                "the authority has no TLS-ALPN-01".to_owned(),
            ));
        };
        let digest = challenge.key_authorization().digest();
        challenges
            .insert(&domain, digest.as_ref())
            .map_err(|error| Failure::Refused(error.to_string()))?;
        challenge.set_ready().await?;
    }
    Ok(())
}

/// What the authority has against the names.
async fn objections(order: &mut Order) -> String {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(now) = authorization.refresh().await else {
            continue;
        };
        let errors = now.challenges.iter().filter_map(|it| it.error.as_ref());
        reasons.extend(errors.filter_map(|error| error.detail.clone()));
    }
    if reasons.is_empty() {
        reasons.push("a name could not be proven".to_owned());
    }
    reasons.join("; ")
}

/// A new P-256 key in PEM, and the request to sign it.
fn request(domains: &[String]) -> Result<(String, Vec<u8>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(domains.to_vec())?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    Ok((key.serialize_pem(), request.der().to_vec()))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Other(error) => {
                let mut text = error.to_string();
                let mut cause = error.source();
                while let Some(inner) = cause {
                    text.push_str(&format!(": {inner}"));
                    cause = inner.source();
                }
                Self::Unreachable(text)
            }
            // Not an authority that answers, or one whose front answers for it.
            Error::Json(error) => Self::Unreachable(format!("no ACME in the reply: {error}")),
            Error::Api(problem) if is_passing(&problem) => Self::Unreachable(problem.to_string()),
            Error::Api(problem) => Self::Refused(problem.to_string()),
            Error::Timeout(_) => Self::Late,
            error => Self::Refused(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "the authority cannot be reached: {reason}"),
            Self::Refused(reason) => write!(f, "the authority refused: {reason}"),
            Self::Unproven(reason) => write!(f, "the authority could not prove a name: {reason}"),
            Self::Late => f.write_str("the authority took too long"),
            Self::State(error) => write!(f, "cannot write the state: {error}"),
        }
    }
}
