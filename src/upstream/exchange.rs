//! One request and its reply, in either protocol.

use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;

use super::addresses::CallOn;
use super::body::ReplyBody;
use super::connections::{Connections, Lease};
use super::failure::Broken;
use super::request::{Request, Template};
use super::{http1, http2};

/// A request that was sent, and its reply as it comes in.
pub(super) struct Exchange {
    protocol: Protocol,
    call: CallOn,
}

enum Protocol {
    Http1(http1::Exchange),
    Http2(http2::Exchange),
}

impl Exchange {
    /// Sends a request.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(super) async fn send(
        lease: Lease,
        template: &Template,
        request: &Request,
    ) -> Result<Self, Broken> {
        match lease {
            Lease::Http1(connection, call) => {
                let head = template.http1(connection.address.host, request);
                let exchange = connection.send(&head).await?;
                let protocol = Protocol::Http1(exchange);
                Ok(Self { protocol, call })
            }
            Lease::Http2(connection, call) => {
                let head = template.http2(connection.address.host, request)?;
                let protocol = Protocol::Http2(connection.send(head)?);
                Ok(Self { protocol, call })
            }
        }
    }

    /// Reads until the head is there. Bytes behind it go to `body`, which refuses them when the status says
    /// that they count for nothing.
    ///
    /// # Errors
    /// When there is no reply, or none that can be used.
    pub(super) async fn head(&mut self, body: &mut ReplyBody) -> Result<StatusCode, Broken> {
        match &mut self.protocol {
            Protocol::Http1(exchange) => exchange.head(body).await,
            Protocol::Http2(exchange) => exchange.head(body).await,
        }
    }

    /// When the upstream wants to be asked again, if the head of its failure says so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match &self.protocol {
            Protocol::Http1(exchange) => exchange.retry_after(),
            Protocol::Http2(exchange) => exchange.retry_after(),
        }
    }

    /// Reads the rest of the reply.
    ///
    /// # Errors
    /// When it ends early, is malformed, or is more than `body` takes.
    pub(super) async fn rest(&mut self, body: &mut ReplyBody) -> Result<(), Broken> {
        match &mut self.protocol {
            Protocol::Http1(exchange) => exchange.rest(body).await,
            Protocol::Http2(exchange) => exchange.rest(body).await,
        }
    }

    /// Gives the connection back, if it may carry another request.
    pub(super) fn finish(self, connections: &Arc<Connections>) {
        self.call.address().succeeded();
        // Its address has one call less before it is handed on.
        drop(self.call);
        match self.protocol {
            Protocol::Http1(exchange) => {
                if let Some(connection) = exchange.into_connection() {
                    connections.give(connection);
                }
            }
            Protocol::Http2(exchange) => connections.give_place(&exchange.into_connection()),
        }
    }
}
