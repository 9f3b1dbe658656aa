//! HTTPS to the authority, with names looked up our way.

use std::pin::Pin;
use std::time::Duration;

use ::http::{Request, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use crate::config::{AcmeSettings, Problem};
use crate::names::Names;
use crate::trust::client_config_with;

/// How long one exchange may take.
const LIMIT: Duration = Duration::from_secs(30);
/// More than any directory, order or chain takes.
const LARGEST: usize = 1 << 20;

/// What talks to the authority.
#[derive(Clone)]
pub(super) struct Client(reqwest::Client);

impl Client {
    /// One that trusts the authorities of the settings.
    pub(super) fn new(settings: &AcmeSettings, names: &Names) -> Result<Self, Problem> {
        let tls = client_config_with("tls.acme.ca", settings.ca.as_deref())?;
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(names.clone())
            .no_proxy()
            .timeout(LIMIT)
            .build()
            .map(Self)
            .map_err(|error| Problem::unavailable("tls.acme", error))
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await;
        let request = Request::from_parts(parts, body.to_bytes());
        let request = reqwest::Request::try_from(request).map_err(other)?;
        let mut response = self.0.execute(request).await.map_err(other)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(other)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(Error::Other("the reply is larger than 1 MiB".into()));
            }
            body.extend_from_slice(&chunk);
        }
        let mut whole = Response::new(Full::new(body.freeze()));
        *whole.status_mut() = response.status();
        *whole.headers_mut() = std::mem::take(response.headers_mut());
        Ok(BytesResponse::from(whole))
    }
}

fn other(error: reqwest::Error) -> Error {
    Error::Other(Box::new(error))
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().exchange(request))
    }
}
