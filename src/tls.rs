//! The certificate that the server itself presents, where TLS is built in, and its replacement while the server runs.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use parking_lot::RwLock;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use thiserror::Error;
use tokio::time::sleep;
use tracing::{info, warn};

/// How often the files are read again. Two small files: simpler than watching for changes, and right also where a
/// link is replaced, as Kubernetes does.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// The files with the certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate in PEM form, followed by those of its issuers.
    pub cert: PathBuf,
    /// The private key in PEM form.
    pub key: PathBuf,
}

/// Why a certificate can't be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file of the certificate.
    #[error("TLS_CERT_FILE: {}: {problem}", .file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file of the key.
    #[error("TLS_KEY_FILE: {}: {problem}", .file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Returns the scheme of addresses of this server.
pub(crate) fn scheme(tls: Option<&Tls>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}

/// What the two files had in them.
#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// A certificate that can be presented.
struct Certificate {
    key: Arc<CertifiedKey>,
    expires_at: DateTime<Utc>,
}

impl TlsFiles {
    /// Reads the files, and returns when the certificate expires.
    ///
    /// # Errors
    /// They can't be read, hold no certificate or no key, or do not belong together.
    pub fn check(&self) -> Result<DateTime<Utc>, TlsError> {
        Ok(self.parse(&self.read()?)?.expires_at)
    }

    fn read(&self) -> Result<Contents, TlsError> {
        Ok(Contents {
            cert: fs::read(&self.cert).map_err(|error| self.bad_certificate(error))?,
            key: fs::read(&self.key).map_err(|error| self.bad_key(error))?,
        })
    }

    fn parse(&self, contents: &Contents) -> Result<Certificate, TlsError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&contents.cert)
            .collect::<Result<_, _>>()
            .map_err(|error| self.bad_certificate(error))?;
        let Some(first) = chain.first() else {
            return Err(self.bad_certificate("there is no certificate in it"));
        };
        let expires_at = expiry(first).map_err(|problem| self.bad_certificate(problem))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => self.bad_key("there is no private key in it"),
            error => self.bad_key(error),
        })?;
        let key =
            CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    self.bad_key(format!("it is not the key of {}", self.cert.display()))
                }
                error => self.bad_key(error),
            })?;
        Ok(Certificate { key: Arc::new(key), expires_at })
    }

    fn bad_certificate(&self, problem: impl fmt::Display) -> TlsError {
        TlsError::Certificate { file: self.cert.clone(), problem: problem.to_string() }
    }

    fn bad_key(&self, problem: impl fmt::Display) -> TlsError {
        TlsError::Key { file: self.key.clone(), problem: problem.to_string() }
    }
}

fn expiry(certificate: &CertificateDer<'_>) -> Result<DateTime<Utc>, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| error.to_string())?;
    let seconds = parsed.validity().not_after.timestamp();
    DateTime::from_timestamp(seconds, 0).ok_or_else(|| "its end can't be represented".to_owned())
}

/// TLS as this server speaks it. Its clones present the same certificate, whichever that is at the time.
#[derive(Clone)]
pub(crate) struct Tls {
    files: TlsFiles,
    current: Arc<Current>,
}

/// The certificate that is presented from now on. Connections keep theirs.
struct Current(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Current {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let certificate = files.parse(&files.read()?)?;
        note_expiry(certificate.expires_at);
        Ok(Self { files: files.clone(), current: Arc::new(Current(RwLock::new(certificate.key))) })
    }

    /// Returns what a listener needs.
    pub(crate) fn server_config(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>)
    }

    /// Presents the certificate that the files have, whenever they change. Files that can't be used are reported, and
    /// change nothing. Never returns.
    pub(crate) async fn reload(&self) {
        let mut known: Option<Contents> = None;
        let mut reported: Option<String> = None;
        loop {
            match self.files.read() {
                Ok(contents) if known.as_ref() == Some(&contents) => reported = None,
                Ok(contents) => {
                    // While the files are being replaced, they may not belong together: they are read again.
                    let refused = self.present(&contents, known.is_none()).err();
                    known = refused.is_none().then_some(contents).or(known);
                    report(&mut reported, refused);
                }
                Err(error) => report(&mut reported, Some(error)),
            }
            sleep(RELOAD_INTERVAL).await;
        }
    }

    fn present(&self, contents: &Contents, is_first: bool) -> Result<(), TlsError> {
        let Certificate { key, expires_at } = self.files.parse(contents)?;
        let is_new = self.current.0.read().cert != key.cert;
        *self.current.0.write() = key;
        if is_new || !is_first {
            counter!("cti_tls_reloads_total", "outcome" => "ok").increment(1);
            info!(%expires_at, "the TLS certificate was replaced");
        }
        note_expiry(expires_at);
        Ok(())
    }
}

/// Says once why new files can't be used.
fn report(reported: &mut Option<String>, refused: Option<TlsError>) {
    let refused = refused.as_ref().map(TlsError::to_string);
    if refused.is_some() && *reported != refused {
        counter!("cti_tls_reloads_total", "outcome" => "failed").increment(1);
        warn!(error = refused.as_deref(), "the new TLS certificate can't be used; the present one is kept");
    }
    *reported = refused;
}

fn note_expiry(expires_at: DateTime<Utc>) {
    gauge!("cti_tls_certificate_expiry_timestamp_seconds").set(expires_at.timestamp() as f64);
}

/// Registers the metrics.
pub(crate) fn register_metrics() {
    describe_gauge!(
        "cti_tls_certificate_expiry_timestamp_seconds",
        Unit::Seconds,
        "When the TLS certificate of the server expires, since 1970; 0 without built-in TLS"
    );
    gauge!("cti_tls_certificate_expiry_timestamp_seconds").set(0.0);
    describe_counter!("cti_tls_reloads_total", "Times that the files of the TLS certificate had changed");
    for outcome in ["ok", "failed"] {
        counter!("cti_tls_reloads_total", "outcome" => outcome).absolute(0);
    }
}

/// Returns the files of two settings: both, or neither.
///
/// # Errors
/// Only one is given: the name of the other.
pub(crate) fn files(cert: Option<&Path>, key: Option<&Path>) -> Result<Option<TlsFiles>, &'static str> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert: cert.into(), key: key.into() })),
        (None, None) => Ok(None),
        (Some(_), None) => Err("tls_key_file"),
        (None, Some(_)) => Err("tls_cert_file"),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Writes a certificate and a key that need not belong together.
    fn written(folder: &Path, cert: &str, key: &str) -> TlsFiles {
        let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        fs::write(&files.cert, cert).expect("written");
        fs::write(&files.key, key).expect("written");
        files
    }

    fn pair() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    #[test]
    fn files_that_can_not_be_used_are_named_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let ((cert, key), (_, other)) = (pair(), pair());
        let problem = |cert: &str, key: &str| {
            written(folder.path(), cert, key).check().expect_err("it can't be used").to_string()
        };
        assert!(written(folder.path(), &cert, &key).check().is_ok());
        let cases = [
            (problem(&cert, &other), "TLS_KEY_FILE: ", "it is not the key of "),
            (problem(&key, &key), "TLS_CERT_FILE: ", "there is no certificate in it"),
            (problem(&cert, &cert), "TLS_KEY_FILE: ", "there is no private key in it"),
            (problem("", &key), "TLS_CERT_FILE: ", "there is no certificate in it"),
        ];
        for (problem, start, end) in cases {
            assert!(problem.starts_with(start) && problem.contains(end), "{problem}");
        }
        let nowhere = TlsFiles { cert: folder.path().join("none"), key: folder.path().join("none") };
        let problem = nowhere.check().expect_err("it is not there").to_string();
        assert!(problem.starts_with("TLS_CERT_FILE: ") && problem.contains("No such file"), "{problem}");
    }

    #[test]
    fn one_file_is_not_enough() {
        let file = Some(Path::new("a.pem"));
        assert_eq!(files(file, None), Err("tls_key_file"));
        assert_eq!(files(None, file), Err("tls_cert_file"));
        assert_eq!(files(None, None), Ok(None));
    }
}
