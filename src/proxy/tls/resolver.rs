//! Which certificate a client is shown: by the name that it asks for and by what it can verify.
//!
//! Certificates of exactly that name come first, then wildcards, whose star is one label. Among them the first that
//! signs as the client can verify, ECDSA before RSA, since it costs less. A client that names none, or a name that no
//! certificate is for, is shown the first certificate or one of the same names.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::chain::Chain;

/// What a wildcard begins with.
const STAR: &str = "*.";

/// See the module's doc.
#[derive(Debug)]
pub(super) struct Resolver {
    chains: Vec<Arc<Chain>>,
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By what follows the star and its dot.
    wildcards: HashMap<Box<str>, Vec<usize>>,
    /// Those of the names of the first.
    otherwise: Vec<usize>,
}

impl Resolver {
    /// Returns a resolver over these chains, the first of which serves clients of no known name.
    pub(super) fn new(chains: &[Arc<Chain>]) -> Self {
        let mut exact = HashMap::<Box<str>, Vec<usize>>::new();
        let mut wildcards = HashMap::<Box<str>, Vec<usize>>::new();
        let mut order: Vec<usize> = (0..chains.len()).collect();
        order.sort_by_key(|position| chains[*position].algorithm);
        for position in &order {
            for name in &chains[*position].names {
                let of_name = match name.strip_prefix(STAR) {
                    Some(rest) => wildcards.entry(rest.into()),
                    None => exact.entry(name.clone()),
                };
                of_name.or_default().push(*position);
            }
        }
        let is_like_first =
            |position: &usize| chains.first().is_some_and(|first| first.names == chains[*position].names);
        let otherwise = order.into_iter().filter(is_like_first).collect();
        Self { chains: chains.to_vec(), exact, wildcards, otherwise }
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = name.and_then(|name| self.wildcards.get(name.split_once('.')?.1));
        let named = [exact, wildcard].into_iter().flatten();
        let is_known = exact.is_some() || wildcard.is_some();
        let otherwise = if is_known { None } else { Some(&self.otherwise) };
        let mut candidates = named.chain(otherwise).flatten().map(|position| &self.chains[*position].certified);
        candidates.find(|certified| certified.key.choose_scheme(schemes).is_some()).cloned()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}
