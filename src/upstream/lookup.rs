//! Names of one upstream to addresses, and what they were last.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::FutureExt;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::metrics::UpstreamMetrics;
use crate::names::Names;

/// The resolver of one upstream's clients.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) names: Names,
    pub(super) metrics: Arc<UpstreamMetrics>,
}

impl Lookup {
    /// The addresses of a name, noted for operators.
    pub(super) async fn lookup(
        &self,
        name: &str,
    ) -> Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>> {
        let addresses = self.names.lookup(name).await?;
        self.metrics.resolved(&addresses);
        Ok(addresses)
    }
}

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = self.clone();
        async move {
            let addresses = lookup.lookup(name.as_str()).await?;
            let sockets = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(sockets) as Addrs)
        }
        .boxed()
    }
}
