//! A balancer on this machine: gives each connection to the next server, and leaves out those that refuse it.

use std::{
    io,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A running balancer. It ends when this is dropped.
pub(super) struct Balancer {
    port: u16,
    servers: Arc<Servers>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Servers {
    ports: RwLock<Vec<u16>>,
    next: AtomicUsize,
}

impl Balancer {
    /// Listens on this port; 0 is any free one.
    pub(super) async fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let port = listener.local_addr()?.port();
        let servers = Arc::<Servers>::default();
        let before = Arc::clone(&servers);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(forward(near, Arc::clone(&before)));
            }
        });
        Ok(Self { port, servers, accepting })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn add(&self, port: u16) {
        self.servers.ports.write().unwrap_or_else(PoisonError::into_inner).push(port);
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(mut near: TcpStream, servers: Arc<Servers>) {
    let ports = servers.ports.read().unwrap_or_else(PoisonError::into_inner).clone();
    let first = servers.next.fetch_add(1, Ordering::Relaxed);
    for offset in 0..ports.len() {
        let port = ports[(first + offset) % ports.len()];
        if let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await {
            // Either side may end it.
            let _ = copy_bidirectional(&mut near, &mut far).await;
            return;
        }
    }
}

/// Returns a port that is free now.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
