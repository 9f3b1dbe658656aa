//! Opens a connection to one of an upstream's addresses: the name, TCP, TLS, and the protocol that both
//! sides speak.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsConnector;

use super::addresses::Address;
use super::failure::{Broken, Kind, causes_in_words, handshake_kind};
use super::stream::Stream;
use super::{http1, http2};
use crate::config::{Problem, UpstreamHttp, UpstreamSettings};
use crate::names::Names;
use crate::trust::client_config;

/// The next address is tried when this one has not answered for so long (RFC 8305 section 5).
const NEXT_ATTEMPT: Duration = Duration::from_millis(250);
/// A peer that takes nothing of what was sent for so long is gone.
const UNANSWERED: Duration = Duration::from_secs(15);

/// A connection by the protocol it speaks.
#[derive(Debug)]
pub(super) enum Connection {
    /// One call at a time.
    Http1(http1::Connection),
    /// Many calls at once.
    Http2(Arc<http2::Connection>),
}

/// What is offered in TLS, or assumed without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// As configured.
    Configured,
    /// HTTP/1.1 only.
    Http1,
}

/// Opens connections to one upstream.
pub(super) struct Dialer {
    settings: UpstreamSettings,
    hosts: Vec<Host>,
    tls: Option<Tls>,
    names: Names,
}

/// What one of its URLs says.
struct Host {
    host: url::Host<String>,
    port: u16,
}

struct Tls {
    configured: TlsConnector,
    http1: TlsConnector,
    /// Who the certificate of each URL must be for.
    server_names: Vec<ServerName<'static>>,
}

impl Dialer {
    /// For the upstream that `settings` describe.
    ///
    /// # Errors
    /// When its certificate authorities cannot be read, or a host cannot be named in a certificate.
    pub(super) fn new(settings: &UpstreamSettings, names: Names) -> Result<Self, Problem> {
        let key = format!("upstreams.{}", settings.name);
        let hosts: Vec<Host> = settings.urls.iter().map(Host::of).collect();
        let tls = settings.is_secure().then(|| {
            let names = hosts.iter().map(Host::server_name);
            let names = names
                .map(|name| name.map_err(|error| Problem::said(format_args!("{key}.url"), error)));
            let config = client_config(&key, &settings.ca)?;
            Ok(Tls::new(
                &config,
                settings.http,
                names.collect::<Result<_, Problem>>()?,
            ))
        });
        Ok(Self {
            hosts,
            tls: tls.transpose()?,
            settings: settings.clone(),
            names,
        })
    }

    /// Whether any of its URLs has a name, which is looked up.
    pub(super) fn has_names(&self) -> bool {
        let is_name = |host: &Host| matches!(host.host, url::Host::Domain(_));
        self.hosts.iter().any(is_name)
    }

    /// Every address that the upstream has now, with the index of its URL.
    ///
    /// # Errors
    /// When none of its names has one.
    pub(super) async fn addresses(&self) -> Result<Vec<(usize, SocketAddr)>, Broken> {
        let mut found = Vec::new();
        let mut failed = None;
        for (index, host) in self.hosts.iter().enumerate() {
            let addresses = match &host.host {
                url::Host::Ipv4(address) => vec![IpAddr::V4(*address)],
                url::Host::Ipv6(address) => vec![IpAddr::V6(*address)],
                url::Host::Domain(name) => match self.names.lookup(name).await {
                    Ok(addresses) => addresses,
                    Err(error) => {
                        failed = Some(Broken::new(Kind::Connect, format_args!("{name}: {error}")));
                        continue;
                    }
                },
            };
            let sockets = addresses
                .into_iter()
                .map(|it| SocketAddr::new(it, host.port));
            found.extend(sockets.map(|socket| (index, socket)));
        }
        match failed {
            Some(broken) if found.is_empty() => Err(broken),
            _ => Ok(found),
        }
    }

    /// A connection to the first of `order` that gives one: the next is tried after a while, or at once
    /// after a failure (RFC 8305 section 5). `failed` hears of those that fail, or are slower.
    ///
    /// # Errors
    /// When none gives one before `deadline`.
    pub(super) async fn connect(
        &self,
        order: &[Arc<Address>],
        offer: Offer,
        deadline: Instant,
        failed: impl Fn(&Arc<Address>),
    ) -> Result<Connection, Broken> {
        let is_answered = &AtomicBool::new(false);
        let mut order = order.iter();
        let mut running: Vec<&Arc<Address>> = Vec::new();
        let mut attempts = FuturesUnordered::new();
        let mut worst = Broken::new(Kind::Connect, "there is no address");
        let mut begin = |attempts: &mut FuturesUnordered<_>, running: &mut Vec<_>| {
            let next = order.next();
            if let Some(address) = next {
                running.push(address);
                attempts.push(
                    async move { (address, self.attempt(address, offer, is_answered).await) },
                );
            }
            next.is_some()
        };
        begin(&mut attempts, &mut running);
        let mut timer = std::pin::pin!(sleep(NEXT_ATTEMPT));
        let result = loop {
            tokio::select! {
                biased;
                next = attempts.next() => match next {
                    None => break Err(worst),
                    Some((address, Ok(connection))) => {
                        running.retain(|it| !Arc::ptr_eq(it, address));
                        break Ok(connection);
                    }
                    Some((_, Err(broken))) => {
                        // What TLS says is worth more than that another address refuses.
                        if worst.kind != Kind::Tls {
                            worst = broken;
                        }
                        is_answered.store(false, Ordering::Relaxed);
                        begin(&mut attempts, &mut running);
                        timer.as_mut().reset(Instant::now() + NEXT_ATTEMPT);
                    }
                },
                () = &mut timer => {
                    // Where TCP is there, TLS may take its time.
                    if !is_answered.load(Ordering::Relaxed) {
                        begin(&mut attempts, &mut running);
                    }
                    timer.as_mut().reset(Instant::now() + NEXT_ATTEMPT);
                }
                () = sleep_until(deadline) => {
                    break Err(Broken::new(Kind::Connect, "not within connect_timeout"));
                }
            }
        };
        running.into_iter().for_each(failed);
        result
    }

    async fn attempt(
        &self,
        address: &Arc<Address>,
        offer: Offer,
        is_answered: &AtomicBool,
    ) -> Result<Connection, Broken> {
        let at = |error: &std::io::Error| format!("{}: {}", address.socket, causes_in_words(error));
        let tcp = TcpStream::connect(address.socket).await;
        let tcp = tcp.map_err(|error| Broken::new(Kind::Connect, at(&error)))?;
        is_answered.store(true, Ordering::Relaxed);
        // Without them it is only slower to notice what happens.
        let _ = tcp.set_nodelay(true);
        let _ = SockRef::from(&tcp).set_tcp_user_timeout(Some(UNANSWERED));
        let Some(tls) = &self.tls else {
            let is_http2 = self.settings.http == UpstreamHttp::Http2;
            return self.speak(Stream::Plain(tcp), address, is_http2).await;
        };
        let connector = match offer {
            Offer::Configured => &tls.configured,
            Offer::Http1 => &tls.http1,
        };
        let name = tls.server_names[address.host].clone();
        let stream = connector.connect(name, tcp).await;
        let stream = stream.map_err(|error| Broken::new(handshake_kind(&error), at(&error)))?;
        // Only what both sides agreed on is spoken (RFC 9113 section 3.2).
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        if self.settings.http == UpstreamHttp::Http2 && !is_http2 {
            return Err(Broken::new(Kind::Tls, "the upstream does not agree on h2"));
        }
        self.speak(Stream::Tls(Box::new(stream)), address, is_http2)
            .await
    }

    async fn speak(
        &self,
        stream: Stream,
        address: &Arc<Address>,
        is_http2: bool,
    ) -> Result<Connection, Broken> {
        if is_http2 {
            let connection =
                http2::Connection::open(stream, address.clone(), &self.settings).await?;
            Ok(Connection::Http2(connection))
        } else {
            let connection = http1::Connection::new(stream, address.clone());
            Ok(Connection::Http1(connection))
        }
    }
}

/// Names of protocols in TLS. Source: IANA's registry of ALPN protocol IDs (RFC 7301).
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

impl Tls {
    fn new(
        config: &ClientConfig,
        http: UpstreamHttp,
        server_names: Vec<ServerName<'static>>,
    ) -> Self {
        let connector = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        let configured: &[&[u8]] = match http {
            UpstreamHttp::Auto => &[HTTP2, HTTP1],
            UpstreamHttp::Http1 => &[HTTP1],
            UpstreamHttp::Http2 => &[HTTP2],
        };
        Self {
            configured: connector(configured),
            http1: connector(&[HTTP1]),
            server_names,
        }
    }
}

impl Host {
    fn of(url: &url::Url) -> Self {
        let host = url.host().expect("the URL of an upstream has a host");
        Self {
            host: host.to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
        }
    }

    fn server_name(&self) -> Result<ServerName<'static>, InvalidDnsNameError> {
        match &self.host {
            url::Host::Ipv4(address) => Ok(ServerName::from(IpAddr::V4(*address))),
            url::Host::Ipv6(address) => Ok(ServerName::from(IpAddr::V6(*address))),
            url::Host::Domain(name) => ServerName::try_from(name.clone()),
        }
    }
}
