//! Where the server listens, and where others reach it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use reqwest::Url;
use tracing::info;

use super::StartError;
use crate::{
    config::Config,
    net,
    tls::{self, Tls},
};

/// Opens the socket, or takes the one that the service manager opened.
///
/// # Errors
/// The host does not exist here, or the port is taken.
pub(super) fn listen(config: &Config) -> Result<TcpListener, StartError> {
    if let Some(listener) = net::inherited().map_err(StartError::Inherited)? {
        info!("the service manager opened the socket; HOST and PORT are not used");
        return Ok(listener);
    }
    net::listen(&config.host, config.port).map_err(|error| match error.kind() {
        io::ErrorKind::AddrNotAvailable => StartError::Host { host: config.host.clone(), error },
        _ => listen_error(config, error),
    })
}

/// Returns the error of a socket that could not be opened.
pub(super) fn listen_error(config: &Config, error: io::Error) -> StartError {
    StartError::Listen { address: format!("{}:{}", config.host, config.port), error }
}

/// Returns the address that others reach the server at: the configured one, or where it listens.
pub(super) fn public_url(config: &Config, tls: Option<&Tls>, address: SocketAddr) -> Url {
    config.public_url.clone().unwrap_or_else(|| {
        Url::parse(&format!("{}://{address}", tls::scheme(tls))).expect("a socket address makes a valid URL")
    })
}

/// Returns where Dialpad sends people back to after they have agreed.
pub(super) fn redirect_uri(config: &Config, public_url: &Url) -> Url {
    config.dialpad.redirect_uri.clone().unwrap_or_else(|| {
        let mut uri = public_url.clone();
        uri.set_path(&format!("{}/callback", public_url.path().trim_end_matches('/')));
        uri
    })
}
