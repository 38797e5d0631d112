//! Encryption for `wss`: the certificates that the operating system trusts, or those of `SSL_CERT_FILE`.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio_tungstenite::Connector;

/// What opens encrypted connections. The provider is named: another crate of the program may bring a second one, and
/// then there is no default.
pub(crate) fn connector() -> Connector {
    let mut roots = RootCertStore::empty();
    // Without any, every connection fails and says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Connector::Rustls(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_needs_nothing_set_up() {
        assert!(matches!(connector(), Connector::Rustls(_)));
    }
}
