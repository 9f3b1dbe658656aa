//! The addresses of one upstream, and what they were last.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::metrics::UpstreamMetrics;
use crate::names::Names;

/// The resolver of one upstream's clients: whatever name they ask for, it is the upstream's.
#[derive(Clone)]
pub(super) struct Lookup {
    /// Where the upstream is; has a host.
    pub(super) url: Url,
    pub(super) names: Names,
    pub(super) metrics: Arc<UpstreamMetrics>,
}

impl Lookup {
    /// Where to connect to; what its name stands for is noted for operators.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
        let port = self.url.port_or_known_default().unwrap_or_default();
        let addresses = match self.url.host() {
            Some(Host::Domain(name)) => {
                let addresses = self.names.lookup(name).await?;
                self.metrics.resolved(&addresses);
                addresses
            }
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            None => Vec::new(),
        };
        let sockets = addresses.into_iter();
        Ok(sockets.map(|it| SocketAddr::new(it, port)).collect())
    }
}

impl Resolve for Lookup {
    fn resolve(&self, _: Name) -> Resolving {
        let lookup = self.clone();
        async move {
            let addresses = lookup.addresses().await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        }
        .boxed()
    }
}
