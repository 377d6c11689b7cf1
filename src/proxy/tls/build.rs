//! From a frontend's settings and files to what a handshake is made with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::model::Name;
use crate::model::tls::{CertificateFiles, FrontendTls, TlsProfile};
use crate::store::seams::FileError;

use super::Obtained;
use super::chain::{CERT, Chain};
use super::challenges::{Challenges, Proof};
use super::client::Verifier;
use super::files::{Stamps, Unusable};
use super::resolver::Resolver;
use super::sessions::{Decides, Sessions};

/// What the handshakes of a frontend are made with, and what it was made of.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) tls: FrontendTls,
    pub(super) config: Arc<ServerConfig>,
    pub(super) chains: Vec<Arc<Chain>>,
    /// What the files were before they were read: one that is written meanwhile is another one afterwards.
    pub(super) stamps: Stamps,
    sessions: Sessions,
    /// Where names are to be shown to be ours.
    pub(super) proof: Option<Proof>,
}

impl Made {
    /// Says what an operator should know of the certificates.
    pub(super) fn log_warnings(&self, frontend: &Name) {
        for chain in &self.chains {
            for warning in &chain.warnings {
                tracing::warn!(%frontend, certificate = %chain.name(), "certificate: {warning}");
            }
        }
    }
}

/// Reads files, each pair once however many frontends name it.
pub(super) struct Reading<'a> {
    provider: &'a Arc<CryptoProvider>,
    challenges: &'a Arc<Challenges>,
    obtained: Option<&'a Obtained>,
    chains: BTreeMap<CertificateFiles, Result<Arc<Chain>, Unusable>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        provider: &'a Arc<CryptoProvider>,
        challenges: &'a Arc<Challenges>,
        obtained: Option<&'a Obtained>,
    ) -> Self {
        Self { provider, challenges, obtained, chains: BTreeMap::new() }
    }

    /// Looks at every file of these settings.
    pub(super) fn stamps(&self, tls: &FrontendTls) -> Stamps {
        let obtained = self.obtained_files(tls);
        Stamps::of(tls, obtained.iter().map(|path| &**path))
    }

    fn obtained_files(&self, tls: &FrontendTls) -> Vec<Arc<Path>> {
        let file = |name: &str| self.obtained.map(|of| (of.file_of)(&of.dir, name).into());
        tls.acme.iter().filter_map(|name| file(name)).collect()
    }

    /// Reads and checks the files of a frontend. Clients of `before` may resume where nothing speaks against it.
    pub(super) fn make(
        &mut self,
        frontend: &Name,
        tls: &FrontendTls,
        before: Option<&Made>,
    ) -> Result<Made, Vec<FileError>> {
        let stamps = self.stamps(tls);
        let (mut chains, mut errors) = (Vec::new(), Vec::new());
        for files in &tls.certificates {
            match self.chain(files) {
                Ok(chain) => chains.push(chain),
                Err(why) => errors.push(why),
            }
        }
        for file in self.obtained_files(tls).into_iter().filter(|file| file.exists()) {
            match self.chain(&CertificateFiles { cert: Arc::clone(&file), key: file }) {
                Ok(chain) => chains.push(chain),
                // It is obtained again.
                Err(Unusable { path, why, .. }) => {
                    tracing::warn!(%frontend, ?path, why, "obtained certificate left out")
                }
            }
        }
        let client = match tls.client_auth.as_ref().map(|auth| Verifier::read(auth, self.provider)).transpose() {
            Ok(client) => client,
            Err(why) => {
                errors.push(why);
                None
            }
        };
        let named = |why: Unusable| {
            let Unusable { key, path, why, remedy } = why;
            FileError { frontend: frontend.clone(), key, path, why, remedy }
        };
        if !errors.is_empty() {
            return Err(errors.into_iter().map(named).collect());
        }
        let decides = Decides { profile: tls.profile, clients: client.as_ref().map(|client| client.digest) };
        let made = Sessions::of(decides, before.map(|before| &before.sessions)).and_then(|sessions| {
            let verifier = client.map(|client| client.verifier);
            let resolver = Resolver::new(&chains);
            let config = self.config(tls, resolver, verifier, &sessions)?;
            let proof = if tls.acme.is_empty() { None } else { Some(Proof::of(self.provider, self.challenges)?) };
            Ok(Made { tls: tls.clone(), config: Arc::new(config), chains, stamps, sessions, proof })
        });
        made.map_err(|why| {
            let path = tls.certificates.first().map(|files| files.cert.to_path_buf()).unwrap_or_default();
            let why = format!("cannot be served: {}", why.to_string().to_lowercase());
            vec![FileError { frontend: frontend.clone(), key: CERT, path, why, remedy: "please report it" }]
        })
    }

    fn chain(&mut self, files: &CertificateFiles) -> Result<Arc<Chain>, Unusable> {
        if let Some(read) = self.chains.get(files) {
            return read.clone();
        }
        let read = Chain::read(files, self.provider).map(Arc::new);
        self.chains.insert(files.clone(), read.clone());
        read
    }

    fn config(
        &self,
        tls: &FrontendTls,
        resolver: Resolver,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
        sessions: &Sessions,
    ) -> Result<ServerConfig, rustls::Error> {
        let versions: &[&SupportedProtocolVersion] = match tls.profile {
            TlsProfile::Intermediate => &[&TLS13, &TLS12],
            TlsProfile::Modern => &[&TLS13],
        };
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(self.provider)).with_protocol_versions(versions)?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = tls.alpn.iter().map(|alpn| alpn.as_str().as_bytes().to_vec()).collect();
        config.ticketer = Arc::clone(&sessions.ticketer);
        config.session_storage = Arc::clone(&sessions.cache);
        // What is sent early may be sent twice by somebody else.
        config.max_early_data_size = 0;
        // The strongest that both know, whatever the client would rather have.
        config.ignore_client_order = true;
        Ok(config)
    }
}
