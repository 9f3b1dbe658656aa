//! Names to addresses, without the C library's resolver (which a static binary cannot use safely).
//!
//! Literal addresses never come here. The last good answer of a name is kept and used while the
//! name server is down.

use std::collections::HashMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hickory_resolver::config::{ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use parking_lot::Mutex;
use reqwest::dns::{Name, Resolve, Resolving};
use tokio::time::{Instant, timeout};

/// How long a name server is waited for when nothing is known of the name.
const LIMIT: Duration = Duration::from_secs(5);
/// How long when there is an old answer.
const LIMIT_WITH_ANSWER: Duration = Duration::from_secs(1);
/// How long the old answer is used without asking again, after a name server did not answer.
const REST: Duration = Duration::from_secs(5);

/// The resolver of the process; clones share what they know.
#[derive(Clone, Default)]
pub struct Names {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Made when the first name is looked up; again while `/etc/resolv.conf` cannot be read.
    resolver: Mutex<Option<TokioResolver>>,
    answers: Mutex<HashMap<String, Answer>>,
}

/// The last good answer for a name.
#[derive(Clone)]
struct Answer {
    addresses: Vec<IpAddr>,
    /// Until when it is used as it is, since the name server did not answer.
    resting_until: Option<Instant>,
}

type LookupError = Box<dyn Error + Send + Sync>;

impl Names {
    /// Asks the name servers of `config` instead of the system's.
    #[must_use]
    pub fn asking(config: ResolverConfig) -> Self {
        let names = Self::default();
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *names.shared.resolver.lock() = with_limits(builder).ok();
        names
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// When it has none, or when no name server says so in time and nothing was known before.
    pub async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let known = self.shared.answers.lock().get(name).cloned();
        if let Some(Answer {
            addresses,
            resting_until: Some(until),
        }) = &known
            && Instant::now() < *until
        {
            return Ok(addresses.clone());
        }
        let limit = if known.is_some() {
            LIMIT_WITH_ANSWER
        } else {
            LIMIT
        };
        // In a task of its own, so that a slow answer is there for the next call.
        let asked = tokio::spawn(self.clone().ask(name.to_owned()));
        match (timeout(limit, asked).await, known) {
            (Ok(Ok(Ok(addresses))), _) => Ok(addresses),
            (_, Some(old)) => {
                let resting_until = Some(Instant::now() + REST);
                let answer = Answer {
                    resting_until,
                    ..old
                };
                self.shared
                    .answers
                    .lock()
                    .insert(name.to_owned(), answer.clone());
                Ok(answer.addresses)
            }
            (Ok(Ok(Err(error))), None) => Err(error),
            (_, None) => Err("the name servers did not answer in time".into()),
        }
    }

    async fn ask(self, name: String) -> Result<Vec<IpAddr>, LookupError> {
        let resolver = self.resolver()?;
        let addresses: Vec<IpAddr> = resolver.lookup_ip(name.as_str()).await?.iter().collect();
        if addresses.is_empty() {
            return Err("the name has no address".into());
        }
        let answer = Answer {
            addresses: addresses.clone(),
            resting_until: None,
        };
        self.shared.answers.lock().insert(name, answer);
        Ok(addresses)
    }

    fn resolver(&self) -> Result<TokioResolver, LookupError> {
        let mut resolver = self.shared.resolver.lock();
        if let Some(resolver) = resolver.as_ref() {
            return Ok(resolver.clone());
        }
        match TokioResolver::builder_tokio() {
            Ok(builder) => Ok(resolver.insert(with_limits(builder)?).clone()),
            // Without a readable /etc/resolv.conf only /etc/hosts is asked, never a public server.
            Err(_) => {
                let none = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
                let provider = TokioRuntimeProvider::default();
                with_limits(TokioResolver::builder_with_config(none, provider))
            }
        }
    }
}

fn with_limits(
    mut builder: ResolverBuilder<TokioRuntimeProvider>,
) -> Result<TokioResolver, LookupError> {
    let options = builder.options_mut();
    options.timeout = Duration::from_secs(2);
    options.attempts = 2;
    options.use_hosts_file = ResolveHosts::Always;
    Ok(builder.build()?)
}

/// `localhost` and names below it are this machine (RFC 6761 section 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        async move {
            let addresses = names.lookup(name.as_str()).await?;
            let sockets = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(sockets) as reqwest::dns::Addrs)
        }
        .boxed()
    }
}
