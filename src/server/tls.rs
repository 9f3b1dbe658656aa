//! TLS towards clients: which certificate a client is shown, and how certificates change while handshakes go on.
//!
//! | file | holds |
//! |---|---|
//! | `tls.rs` | what is served, and the two ways to change it: the configuration and the disk |
//! | `place` | the files of a pair and of the clients' authorities, and what is made of them |
//! | `pair`, `leaf` | a chain with its key, and what its first certificate says |
//! | `served` | what is in use at one time, and how it differs from before |
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
mod served;
mod watch;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
use self::config::Sessions;
use self::place::Place;
use self::served::Served;
use self::watch::Seen;
use crate::config::{AcmeSettings, CertificateSource, Problem, Problems, TlsSettings};
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
            Served::before_the_pair(settings, &provider)?.config(&provider)?;
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
        let objections = served.objections(&before);
        if !objections.is_empty() {
            return Err(objections.into_iter().collect());
        }
        let changed = served.changed(&before);
        served.keep_sessions(&before);
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
                // An order that is broken off leaves its answers.
                keeper.shutdown().await;
                self.shared.challenges.clear();
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
        let certificates = &self.shared.metrics.service.certificates;
        match seen {
            Seen::Same => return false,
            Seen::Replaced => certificates.changed(true),
            Seen::Unusable(problems) => {
                certificates.changed(false);
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

#[cfg(test)]
mod tests;
