//! A TLS proxy in front of a server, as in production, with a self-signed certificate.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::CertifiedKey;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use super::server::TestServer;

/// A running proxy. It ends with the test.
pub(crate) struct TlsProxy {
    pub(crate) base_url: String,
    /// The certificate that a client must trust.
    pub(crate) certificate: PathBuf,
}

impl TlsProxy {
    /// Starts a proxy for the address of this server.
    pub(crate) async fn before(server: &TestServer, folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
        let CertifiedKey { cert, signing_key } = made.expect("a certificate can be made");
        let certificate = folder.join("proxy.pem");
        std::fs::write(&certificate, cert.pem()).expect("the folder takes a file");
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("the certificate fits its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let base_url = format!("https://{}", listener.local_addr().expect("it is bound"));
        let server = server.address().to_owned();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(forward(near, acceptor.clone(), server.clone()));
            }
        });
        Self { base_url, certificate }
    }
}

async fn forward(near: TcpStream, acceptor: TlsAcceptor, server: String) {
    // A client that does not trust the certificate ends the handshake.
    let Ok(mut near) = acceptor.accept(near).await else { return };
    if let Ok(mut far) = TcpStream::connect(server).await {
        // Either side may end it.
        let _ = copy_bidirectional(&mut near, &mut far).await;
    }
}
