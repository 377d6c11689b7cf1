//! HTTP towards the authority: one request after the other, on threads that may block, verified against the operator's
//! authorities or this machine's. No proxy, no redirects, a deadline for each request and a bound for each answer.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::AcmeError;
use crate::trust;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// See the module's doc.
pub(super) struct Client(Agent);

/// Returns a client that verifies the authority's server against this file, or against what this machine trusts.
pub(super) fn client(ca: Option<&Path>) -> Result<Client, AcmeError> {
    let tls = TlsConfig::builder().root_certs(roots(ca)?).build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(REQUEST))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .build();
    Ok(Client(config.into()))
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let agent = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let sent = tokio::task::spawn_blocking(move || send(&agent, parts, &body)).await;
            sent.map_err(|cause| Error::Other(Box::new(cause)))?.map_err(|cause| Error::Other(Box::new(cause)))
        })
    }
}

fn send(agent: &Agent, parts: http::request::Parts, body: &[u8]) -> Result<BytesResponse, ureq::Error> {
    let answer = if body.is_empty() {
        agent.run(Request::from_parts(parts, ()))?
    } else {
        agent.run(Request::from_parts(parts, body))?
    };
    let (parts, body) = answer.into_parts();
    let body = body.into_with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
    Ok(BytesResponse::from(Response::from_parts(parts, Full::new(Bytes::from(body)))))
}

fn roots(ca: Option<&Path>) -> Result<RootCerts, AcmeError> {
    let read = trust::certificates(ca).map_err(AcmeError::Authorities)?;
    Ok(read.iter().map(|der| Certificate::from_der(der).to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_without_authorities_is_told_by_its_key() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        let why = format!("cannot use the authorities in {:?}: it holds no certificate in PEM", empty.path());
        let told = client(Some(empty.path())).err().unwrap().to_string();
        assert_eq!(told, format!("acme.ca: cannot verify the directory: {why}; give a PEM file with certificates"));
    }
}
