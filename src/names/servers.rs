//! The name servers of a resolv.conf, and what they said last.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::parse_resolv_conf;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::LookupError;

/// How long a name server is waited for when nothing is known of the name.
const LIMIT: Duration = Duration::from_secs(5);
/// How long when there is an old answer.
const LIMIT_WITH_ANSWER: Duration = Duration::from_secs(1);
/// How long the old answer is used without asking again, after a name server did not answer.
const REST: Duration = Duration::from_secs(5);

/// Asks the name servers of one resolv.conf, keeps their answers for as long as these hold (TTL), and uses
/// the last good one when they do not answer.
#[derive(Default)]
pub(super) struct Servers {
    /// None when the file names no server.
    resolver: Option<TokioResolver>,
    answers: Mutex<HashMap<String, Answer>>,
}

/// The last good answer for a name.
#[derive(Clone)]
struct Answer {
    addresses: Vec<IpAddr>,
    /// Until when it is used as it is, since the name server did not answer.
    resting_until: Option<Instant>,
    /// The name servers of an earlier file gave it: what those of this one say is worth more.
    is_inherited: bool,
}

/// What asks the name servers that this text of a resolv.conf names, at `port`.
///
/// # Errors
/// When it names none, or is wrong.
pub(super) fn resolver(text: &[u8], port: u16) -> Result<TokioResolver, NetError> {
    let (config, mut options) = parse_resolv_conf(text)?;
    let at_port = |server: &NameServerConfig| {
        let mut server = server.clone();
        for connection in &mut server.connections {
            connection.port = port;
        }
        server
    };
    let (domain, search) = (config.domain().cloned(), config.search().to_vec());
    let servers = config.name_servers().iter().map(at_port).collect();
    let config = ResolverConfig::from_parts(domain, search, servers);
    options.timeout = Duration::from_secs(2);
    options.attempts = 2;
    // It has been looked at before a name comes here, and would be read but once.
    options.use_hosts_file = ResolveHosts::Never;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
}

impl Servers {
    /// Those that come after these, when the file has changed. What these said last is used until the new
    /// ones answer.
    pub(super) fn succeeded_by(&self, resolver: Option<TokioResolver>) -> Self {
        let mut answers = self.answers.lock().clone();
        for answer in answers.values_mut() {
            answer.resting_until = None;
            answer.is_inherited = true;
        }
        Self {
            resolver,
            answers: Mutex::new(answers),
        }
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// When it has none, or when no name server says so in time and nothing was known before.
    pub(super) async fn lookup(self: &Arc<Self>, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let known = self.answers.lock().get(name).cloned();
        if let Some(answer) = &known
            && answer
                .resting_until
                .is_some_and(|until| Instant::now() < until)
        {
            return Ok(answer.addresses.clone());
        }
        let limit = match known {
            Some(_) => LIMIT_WITH_ANSWER,
            None => LIMIT,
        };
        // In a task of its own, so that a slow answer is there for the next call.
        let asked = tokio::spawn(self.clone().ask(name.to_owned()));
        let said = match timeout(limit, asked).await {
            Ok(Ok(said)) => said,
            _ => Err(LookupError::Silent),
        };
        match (said, known) {
            (Ok(addresses), _) => Ok(addresses),
            (Err(error), Some(old)) if old.is_inherited && error.is_an_answer() => {
                self.answers.lock().remove(name);
                Err(error)
            }
            (Err(_), Some(old)) => {
                let addresses = old.addresses.clone();
                let answer = Answer {
                    resting_until: Some(Instant::now() + REST),
                    ..old
                };
                self.answers.lock().insert(name.to_owned(), answer);
                Ok(addresses)
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn ask(self: Arc<Self>, name: String) -> Result<Vec<IpAddr>, LookupError> {
        let resolver = self.resolver.as_ref().ok_or(LookupError::NoServer)?;
        let asked = question(&name).map_err(LookupError::NoName)?;
        let found = resolver.lookup_ip(asked).await?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        if addresses.is_empty() {
            return Err(LookupError::NoAddress);
        }
        let answer = Answer {
            addresses: addresses.clone(),
            resting_until: None,
            is_inherited: false,
        };
        self.answers.lock().insert(name, answer);
        Ok(addresses)
    }
}

/// The name as it goes to a name server: ASCII as it is, since any byte may stand in a label
/// (RFC 2181 section 11); anything else as IDNA writes it.
fn question(name: &str) -> Result<Name, ProtoError> {
    if !name.is_ascii() {
        return Name::from_utf8(name);
    }
    let (labels, is_absolute) = match name.strip_suffix('.') {
        Some(labels) => (labels, true),
        None => (name, false),
    };
    let mut question = Name::from_labels(labels.split('.').map(str::as_bytes))?;
    question.set_fqdn(is_absolute);
    Ok(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_labels_are_taken_as_they_are() {
        for name in [
            "my_service",
            "a_b.c_d.test",
            "_a.test",
            "a_.test",
            "-a-.test",
            "*.test",
            "a:b.test",
            "back\\046slash.test",
            "Test.TEST",
        ] {
            let question = question(name).unwrap();
            let labels: Vec<&[u8]> = question.iter().collect();
            assert_eq!(labels.join(&b'.'), name.as_bytes(), "{name}");
            assert!(!question.is_fqdn(), "search domains apply to {name}");
        }
        let absolute = question("my_service.test.").unwrap();
        assert!(absolute.is_fqdn());
        assert_eq!(absolute.num_labels(), 2);
        let foreign = question("bücher.test").unwrap();
        assert_eq!(foreign, question("xn--bcher-kva.test").unwrap());
    }

    #[test]
    fn what_cannot_be_asked_for_is_an_error() {
        let long = "a".repeat(64);
        let many = "a.".repeat(200);
        for name in ["", ".", "a..b", ".a", "a..", &long, &many] {
            assert!(question(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_text_without_a_name_server_is_an_error() {
        for text in ["", "nameserver nowhere\n", "search test\n", "\u{0}"] {
            assert!(resolver(text.as_bytes(), 53).is_err(), "{text:?}");
        }
        let text =
            b"# \xff\r\nnameserver 127.0.0.1\r\noptions ndots:2 unheard_of\nsearch a_b.test\n";
        let resolver = resolver(text, 53).unwrap();
        assert_eq!(resolver.options().ndots, 2);
    }
}
