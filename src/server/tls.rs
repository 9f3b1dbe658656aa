//! TLS towards clients: which certificate whom is shown, and how it changes while handshakes go on.
//!
//! | file | holds |
//! |---|---|
//! | `tls.rs` | what is served, and the two ways to change it: the configuration and the disk |
//! | `place` | the files of a pair and of the clients' authorities, and what is made of them |
//! | `pair`, `leaf` | a chain with its key, and what its first certificate says |
//! | `watch` | whether what the files hold now may take the place of what is in use |
//! | `chosen` | which of several certificates a client is shown |
//! | `config` | what the TLS library is told |
//! | `acme` | a certificate from an authority, which is written where `place` finds it |

mod acme;
mod chosen;
mod config;
mod disk;
mod leaf;
mod pair;
mod place;
mod self_signed;
mod watch;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use self::acme::{Challenges, Keeper};
use self::chosen::Certificates;
use self::config::Sessions;
use self::leaf::now;
use self::pair::Pair;
use self::place::{ClientPlace, Place};
use self::watch::{Seen, Watched};
use crate::config::{AcmeSettings, CertificateSource, PairFiles, Problem, Problems, TlsSettings};
use crate::metrics::Metrics;
use crate::names::Names;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often a certificate that is not good, or not for long, is told of.
const COMPLAIN: Duration = Duration::from_secs(12 * 3600);

/// TLS of the whole process; clones are the same.
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

struct Shared {
    /// What the next handshake uses.
    config: ArcSwap<ServerConfig>,
    served: Mutex<Served>,
    provider: Arc<CryptoProvider>,
    metrics: Arc<Metrics>,
    names: Names,
    challenges: Challenges,
}

/// What is in use, and where it came from.
struct Served {
    pairs: Pairs,
    clients: Option<Watched<ClientPlace>>,
    sessions: Sessions,
    /// Who gets the pair for everybody, if anybody does.
    acme: Option<AcmeSettings>,
}

/// The pair for everybody, and more in the order of the configuration.
struct Pairs {
    default: Watched<Place>,
    more: Vec<Watched<Place>>,
}

/// A configuration that can be served: everything is read, and nothing is changed yet.
pub struct Prepared {
    served: Served,
    config: Arc<ServerConfig>,
    changed: Vec<String>,
}

impl Prepared {
    /// The keys whose files hold something else than what is in use, though the keys are the same.
    pub fn changed(&self) -> impl Iterator<Item = &str> {
        self.changed.iter().map(String::as_str)
    }
}

impl Tls {
    /// As the settings say; a self-signed pair is made first if they want one.
    ///
    /// # Errors
    /// Every file that is missing, cannot be read or used, or does not belong to the other.
    pub fn load(
        settings: &TlsSettings,
        names: Names,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Problems> {
        make(settings)?;
        let provider = config::provider();
        let served = Served::load(settings, &provider)?;
        let config = served.config(&provider)?;
        served.announce(&metrics);
        Ok(Self {
            shared: Arc::new(Shared {
                metrics,
                config: ArcSwap::new(config),
                served: Mutex::new(served),
                provider,
                names,
                challenges: Challenges::default(),
            }),
        })
    }

    /// Reads everything that a start reads, and makes nothing. Gives what clients will mind.
    ///
    /// # Errors
    /// As [`Tls::load`].
    pub fn check(settings: &TlsSettings) -> Result<Vec<String>, Problems> {
        let place = Place::default(settings);
        let provider = config::provider();
        if settings.self_signed && !self_signed::is_there(&place) {
            return Ok(Vec::new());
        }
        let served = Served::load(settings, &provider)?;
        served.config(&provider)?;
        Ok(served.complaints())
    }

    /// Reads everything anew for changed settings; nothing is changed until it is given to
    /// [`Tls::replace`].
    ///
    /// # Errors
    /// As [`Tls::load`], and a certificate that is older than the one its files held before.
    pub fn prepare(&self, settings: &TlsSettings) -> Result<Prepared, Problems> {
        make(settings)?;
        let provider = &self.shared.provider;
        let mut served = Served::load(settings, provider)?;
        let before = self.shared.served.lock();
        let of_before = served.pairs.iter().filter_map(|new| {
            let mut old = before.pairs.iter();
            Some((new, old.find(|old| old.place.files == new.place.files)?))
        });
        let of_before: Vec<_> = of_before.collect();
        let objections: Vec<Problem> = of_before
            .iter()
            .flat_map(|(new, old)| old.objection(new))
            .collect();
        if !objections.is_empty() {
            return Err(objections.into_iter().collect());
        }
        let others = of_before.iter().filter(|(new, old)| !new.is_same(old));
        let mut changed: Vec<_> = others
            .map(|(new, _)| format!("{}.certificate", new.place.table))
            .collect();
        let same_clients = match (&served.clients, &before.clients) {
            (Some(new), Some(old)) => new.is_same(old),
            (new, old) => new.is_none() && old.is_none(),
        };
        if let (false, Some(new), Some(old)) = (same_clients, &served.clients, &before.clients)
            && new.place == old.place
        {
            changed.push("tls.client_ca".to_owned());
        }
        if same_clients {
            served.sessions = before.sessions.clone();
        }
        let config = served.config(provider)?;
        Ok(Prepared {
            served,
            config,
            changed,
        })
    }

    /// Serves what was prepared from the next handshake on.
    pub fn replace(&self, prepared: Prepared) {
        prepared.served.announce(&self.shared.metrics);
        *self.shared.served.lock() = prepared.served;
        self.shared.config.store(prepared.config);
    }

    /// Looks at the files for ever, and takes what is new and good.
    pub async fn watch(self) {
        let mut looks = tokio::time::interval(LOOK);
        let mut complained = Instant::now();
        let (mut keeper, mut kept) = (JoinSet::new(), None);
        loop {
            looks.tick().await;
            let wanted = self.shared.served.lock().acme.clone();
            if wanted != kept {
                kept.clone_from(&wanted);
                keeper.abort_all();
                wanted.map(|settings| keeper.spawn(self.keeper(settings).run()));
            }
            let tls = self.clone();
            // A key may take milliseconds to check, and a disk seconds to answer.
            let looked = tokio::task::spawn_blocking(move || tls.look());
            if let Err(error) = looked.await {
                tracing::error!(%error, "cannot look for changed certificates");
            }
            if complained.elapsed() >= COMPLAIN {
                complained = Instant::now();
                self.shared.served.lock().complain();
            }
        }
    }

    fn keeper(&self, settings: AcmeSettings) -> Keeper {
        Keeper {
            settings,
            challenges: self.shared.challenges.clone(),
            names: self.shared.names.clone(),
            metrics: self.shared.metrics.clone(),
        }
    }

    /// Looks at every file once.
    fn look(&self) {
        let provider = &self.shared.provider;
        let mut served = self.shared.served.lock();
        let now = Instant::now();
        let mut replaced = false;
        for pair in served.pairs.iter_mut() {
            if self.told(&pair.look(provider, now)) {
                replaced = true;
                pair.announce("a changed certificate is in use");
            }
        }
        let clients = served.clients.as_mut();
        if let Some(true) = clients.map(|clients| self.told(&clients.look(provider, now))) {
            // Sessions of clients that the former authorities vouched for must not be resumed.
            match Sessions::new() {
                Ok(sessions) => served.sessions = sessions,
                Err(error) => tracing::error!(%error, "no new session tickets"),
            }
            tracing::info!("changed authorities vouch for clients");
            replaced = true;
        }
        if !replaced {
            return;
        }
        match served.config(provider) {
            Ok(config) => self.shared.config.store(config),
            Err(error) => tracing::error!(%error, "the changed certificates cannot be used"),
        }
        served.announce(&self.shared.metrics);
    }

    /// Logs what cannot be used; true when something new is in use.
    fn told(&self, seen: &Seen) -> bool {
        let service = &self.shared.metrics.service;
        match seen {
            Seen::Same => return false,
            Seen::Replaced => service.certificate_changed(true),
            Seen::Unusable(problems) => {
                service.certificate_changed(false);
                for problem in problems {
                    tracing::warn!(%problem, "a changed file cannot be used; what was read before stays in use");
                }
            }
        }
        matches!(seen, Seen::Replaced)
    }

    /// TLS over a connection, with the certificate of this moment.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.shared.config.load_full();
        if self.shared.challenges.is_empty() {
            return TlsAcceptor::from(config).accept(stream).await;
        }
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let Some(answer) = self.shared.challenges.answer(&start.client_hello()) else {
            return start.into_stream(config).await;
        };
        // The handshake is all there is to see.
        start.into_stream(answer).await?.shutdown().await?;
        tracing::info!("answered an authority that proves a name");
        Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "the connection was an authority's, which has seen its answer",
        ))
    }
}

impl Served {
    fn load(settings: &TlsSettings, provider: &CryptoProvider) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let place = Place::default(settings);
        let (default, acme) = match &settings.source {
            CertificateSource::Files(_) => (Watched::load(place, provider), None),
            CertificateSource::Acme(acme) => {
                problems.extend(acme::check(acme));
                let kept = Watched::load(place.clone(), provider);
                let default = kept.or_else(|_| stand_in(place, acme, provider));
                (default, Some(acme.clone()))
            }
        };
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

    fn config(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<ServerConfig>, Problem> {
        let more: Vec<&Pair> = self.pairs.more.iter().map(|pair| &pair.made).collect();
        let certificates = Arc::new(Certificates::new(&self.pairs.default.made, &more));
        let clients = self.clients.as_ref().map(|clients| clients.made.clone());
        config::server_config(provider, certificates, clients, &self.sessions)
            .map_err(|error| unusable(&error))
    }

    /// What clients will mind of the certificates.
    fn complaints(&self) -> Vec<String> {
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
    fn announce(&self, metrics: &Metrics) {
        let instant =
            |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let shown = self.pairs.iter().map(|pair| {
            let leaf = &pair.made.leaf;
            let valid = [leaf.not_before, leaf.not_after].map(instant);
            (pair.place.table.as_str(), valid)
        });
        metrics.service.certificates(shown);
        self.complain();
    }

    fn complain(&self) {
        for complaint in self.complaints() {
            tracing::warn!("{complaint}");
        }
    }
}

impl Pairs {
    fn iter(&self) -> impl Iterator<Item = &Watched<Place>> {
        std::iter::once(&self.default).chain(&self.more)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Watched<Place>> {
        std::iter::once(&mut self.default).chain(&mut self.more)
    }
}

impl Watched<Place> {
    fn announce(&self, message: &str) {
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
    fn default(settings: &TlsSettings) -> Self {
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

/// Makes what the settings want made: a self-signed pair, or a place for what an authority gives.
fn make(settings: &TlsSettings) -> Result<(), Problem> {
    match &settings.source {
        CertificateSource::Files(_) if settings.self_signed => {
            self_signed::make_if_missing(&Place::default(settings))
        }
        CertificateSource::Files(_) => Ok(()),
        CertificateSource::Acme(acme) => acme::State::of(acme).make().map_err(|error| {
            let subject = format!("tls.acme.state_dir {}", acme.state_dir.display());
            Problem::unavailable(subject, format_args!("cannot be made or entered: {error}"))
        }),
    }
}

/// What is shown until the authority has given a certificate.
fn stand_in(
    place: Place,
    acme: &AcmeSettings,
    provider: &CryptoProvider,
) -> Result<Watched<Place>, Vec<Problem>> {
    tracing::warn!(
        file = %place.files.certificate.display(),
        "there is no certificate yet; a self-signed one stands in, which clients do not trust"
    );
    let made = self_signed::stand_in(&acme.domains, provider);
    let problem = |error| vec![Problem::unavailable("tls.acme", error)];
    made.map(|made| Watched::with(place, made)).map_err(problem)
}

/// What was made, or nothing and its problems.
fn had<T>(made: Result<T, Vec<Problem>>, problems: &mut Vec<Problem>) -> Option<T> {
    made.map_err(|more| problems.extend(more)).ok()
}

fn unusable(error: &rustls::Error) -> Problem {
    Problem::unavailable("tls", error)
}

#[cfg(test)]
mod tests;
