//! TLS for `wss`, with the certificates that the operating system trusts, or those of `SSL_CERT_FILE`.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio_tungstenite::Connector;

/// Returns the TLS configuration. The crypto provider is explicit: if another crate of the program brings a second one,
/// there is no default.
pub(crate) fn connector() -> Connector {
    let mut roots = RootCertStore::empty();
    // Without any certificate, every connection fails with an error that says so.
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
    fn tls_needs_no_setup() {
        assert!(matches!(connector(), Connector::Rustls(_)));
    }
}
