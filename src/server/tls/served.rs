//! What is in use at one time: every pair and the authorities of clients, and how it differs from what
//! was in use before.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;

use super::acme;
use super::chosen::Certificates;
use super::config::{self, Sessions};
use super::leaf::{self, now};
use super::pair::Pair;
use super::place::{ClientPlace, Place};
use super::self_signed;
use super::watch::Watched;
use crate::config::{AcmeSettings, CertificateSource, PairFiles, Problem, Problems, TlsSettings};
use crate::metrics::Metrics;

/// What is in use, and where it came from.
pub(super) struct Served {
    pub(super) pairs: Pairs,
    pub(super) clients: Option<Watched<ClientPlace>>,
    pub(super) sessions: Sessions,
    /// The names for which a pair stands in for all, if one does.
    pub(super) acme: Option<AcmeSettings>,
}

/// The pair for everybody, and more in the order of the configuration.
pub(super) struct Pairs {
    default: Watched<Place>,
    more: Vec<Watched<Place>>,
}

impl Served {
    /// Everything that the settings name.
    pub(super) fn load(
        settings: &TlsSettings,
        provider: &CryptoProvider,
    ) -> Result<Self, Problems> {
        let place = Place::default(settings);
        let default = match &settings.source {
            CertificateSource::Files(_) => Watched::load(place, provider),
            CertificateSource::Acme(acme) => {
                let kept = Watched::load(place.clone(), provider);
                kept.or_else(|_| stand_in(place, &acme.domains, provider))
            }
        };
        Self::around(default, settings, provider)
    }

    /// The same before a self-signed pair is made, with something in its place.
    pub(super) fn before_the_pair(
        settings: &TlsSettings,
        provider: &CryptoProvider,
    ) -> Result<Self, Problems> {
        let default = stand_in(Place::default(settings), &[], provider);
        Self::around(default, settings, provider)
    }

    fn around(
        default: Result<Watched<Place>, Vec<Problem>>,
        settings: &TlsSettings,
        provider: &CryptoProvider,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let acme = match &settings.source {
            CertificateSource::Files(_) => None,
            CertificateSource::Acme(acme) => Some(acme.clone()),
        };
        problems.extend(acme.as_ref().and_then(acme::check));
        let default = had(default, &mut problems);
        let more = settings
            .sni
            .iter()
            .enumerate()
            .filter_map(|(index, files)| {
                let place = Place {
                    table: format!("tls.sni[{index}]"),
                    files: files.clone(),
                };
                had(Watched::load(place, provider), &mut problems)
            });
        let more = more.collect();
        let clients = settings.client_ca.as_ref().and_then(|path| {
            let place = ClientPlace(path.clone());
            had(Watched::load(place, provider), &mut problems)
        });
        let sessions = had(
            Sessions::new().map_err(|error| vec![unusable(&error)]),
            &mut problems,
        );
        match (default, sessions) {
            (Some(default), Some(sessions)) if problems.is_empty() => Ok(Self {
                pairs: Pairs { default, more },
                clients,
                sessions,
                acme,
            }),
            _ => Err(problems.into_iter().collect()),
        }
    }

    /// What the TLS library is told of it.
    pub(super) fn config(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<ServerConfig>, Problem> {
        let more: Vec<&Pair> = self.pairs.more.iter().map(|pair| &pair.made).collect();
        let certificates = Arc::new(Certificates::new(&self.pairs.default.made, &more));
        let clients = self.clients.as_ref().map(|clients| clients.made.clone());
        config::server_config(provider, certificates, clients, &self.sessions)
            .map_err(|error| unusable(&error))
    }

    /// Why it must not take the place of `before`, which may hold newer certificates.
    pub(super) fn objections(&self, before: &Self) -> Vec<Problem> {
        let pairs = self.pairs_of(before);
        pairs.flat_map(|(new, old)| old.objection(new)).collect()
    }

    /// The keys whose files hold something else than `before`, though the keys are the same.
    pub(super) fn changed(&self, before: &Self) -> Vec<String> {
        let others = self.pairs_of(before).filter(|(new, old)| !new.is_same(old));
        let mut changed: Vec<_> = others
            .map(|(new, _)| format!("{}.certificate", new.place.table))
            .collect();
        if let (Some(new), Some(old)) = (&self.clients, &before.clients)
            && new.place == old.place
            && !new.is_same(old)
        {
            changed.push("tls.client_ca".to_owned());
        }
        changed
    }

    /// Goes on with the sessions of `before`, unless other authorities vouch for clients now.
    pub(super) fn keep_sessions(&mut self, before: &Self) {
        let same_clients = match (&self.clients, &before.clients) {
            (Some(new), Some(old)) => new.is_same(old),
            (new, old) => new.is_none() && old.is_none(),
        };
        if same_clients {
            self.sessions = before.sessions.clone();
        }
    }

    /// The pairs that were there `before`, from the same files.
    fn pairs_of<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (&'a Watched<Place>, &'a Watched<Place>)> {
        self.pairs.iter().filter_map(|new| {
            let mut old = before.pairs.iter();
            Some((new, old.find(|old| old.place.files == new.place.files)?))
        })
    }

    /// What clients will mind of the certificates.
    pub(super) fn complaints(&self) -> Vec<String> {
        let complaint = |pair: &Watched<Place>| {
            let complaint = pair.made.leaf.complaint(now())?;
            let path = pair.place.files.certificate.display();
            Some(format!(
                "{}.certificate {path}: {complaint}",
                pair.place.table
            ))
        };
        self.pairs.iter().filter_map(complaint).collect()
    }

    /// Shows what is in use from now on, and says what clients will mind.
    pub(super) fn announce(&self, metrics: &Metrics) {
        let instant =
            |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let shown = self.pairs.iter().map(|pair| {
            let leaf = &pair.made.leaf;
            let valid = [leaf.not_before, leaf.not_after].map(instant);
            (pair.place.table.as_str(), valid)
        });
        let certificates = &metrics.service.certificates;
        certificates.shown(shown);
        certificates.stands_in.set(self.stands_in().into());
        self.complain();
    }

    /// Whether there is none of the authority's yet.
    fn stands_in(&self) -> bool {
        self.acme.is_some() && self.pairs.default.is_stand_in()
    }

    /// Says what clients will mind.
    pub(super) fn complain(&self) {
        if self.stands_in() {
            tracing::warn!(
                file = %self.pairs.default.place.files.certificate.display(),
                "there is no certificate yet; a self-signed one stands in, which clients do not trust"
            );
        }
        for complaint in self.complaints() {
            tracing::warn!("{complaint}");
        }
    }
}

impl Pairs {
    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Watched<Place>> {
        std::iter::once(&self.default).chain(&self.more)
    }

    /// All of them, to be replaced.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Watched<Place>> {
        std::iter::once(&mut self.default).chain(&mut self.more)
    }
}

impl Watched<Place> {
    pub(super) fn announce(&self, message: &str) {
        let leaf = &self.made.leaf;
        tracing::info!(
            tls.certificate = %self.place.files.certificate.display(),
            tls.names = %leaf.names.join(" "),
            tls.not_after = %leaf::show(leaf.not_after),
            "{message}"
        );
    }
}

impl Place {
    /// The pair for everybody; the one of an authority is kept in one file.
    pub(super) fn default(settings: &TlsSettings) -> Self {
        match &settings.source {
            CertificateSource::Files(files) => Self {
                table: "tls".to_owned(),
                files: files.clone(),
            },
            CertificateSource::Acme(acme) => {
                let file = acme::State::of(acme).certificate_file();
                Self {
                    table: "tls.acme".to_owned(),
                    files: PairFiles {
                        certificate: file.clone(),
                        private_key: file,
                    },
                }
            }
        }
    }
}

/// What is shown until there is a pair.
fn stand_in(
    place: Place,
    names: &[String],
    provider: &CryptoProvider,
) -> Result<Watched<Place>, Vec<Problem>> {
    let made = self_signed::stand_in(names, provider);
    let problem = |error| vec![Problem::unavailable(&place.table, error)];
    let made = made.map_err(problem)?;
    Ok(Watched::with(place, made))
}

/// What was made, or nothing and its problems.
fn had<T>(made: Result<T, Vec<Problem>>, problems: &mut Vec<Problem>) -> Option<T> {
    made.map_err(|more| problems.extend(more)).ok()
}

pub(super) fn unusable(error: &rustls::Error) -> Problem {
    Problem::unavailable("tls", error)
}
