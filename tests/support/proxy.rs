//! A connection between a server and its database that can be cut.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, Ordering},
};

use reqwest::Url;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::world::World;

/// Forwards every connection, until it is cut.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    switch: Arc<Switch>,
}

#[derive(Default)]
struct Switch {
    is_cut: AtomicBool,
    cut: Notify,
    /// Where new connections are forwarded to.
    port: AtomicU16,
}

impl Proxy {
    /// Listens on a free port of this address and forwards to this port.
    async fn on(address: &str, port: u16) -> Self {
        let listener = TcpListener::bind((address, 0)).await.expect("a port is free");
        let own_port = listener.local_addr().expect("it is bound").port();
        let switch = Arc::<Switch>::default();
        switch.port.store(port, Ordering::SeqCst);
        let seen = Arc::clone(&switch);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if !seen.is_cut.load(Ordering::SeqCst) {
                    tokio::spawn(forward(near, Arc::clone(&seen)));
                }
            }
        });
        Self { port: own_port, switch }
    }

    /// Ends all connections and accepts no new ones.
    pub(crate) fn cut(&self) {
        self.switch.is_cut.store(true, Ordering::SeqCst);
        self.switch.cut.notify_waiters();
    }

    /// Ends all connections, and forwards new ones to another port.
    pub(crate) fn switch_to(&self, port: u16) {
        self.switch.port.store(port, Ordering::SeqCst);
        self.switch.cut.notify_waiters();
    }

    /// Accepts connections again.
    pub(crate) fn mend(&self) {
        self.switch.is_cut.store(false, Ordering::SeqCst);
    }
}

impl World {
    /// Returns the world whose PostgreSQL is reached through a proxy that can be cut.
    pub(crate) async fn behind_a_proxy(self) -> (Self, Proxy) {
        self.behind_a_proxy_on("127.0.0.1").await
    }

    /// Returns the same, with a proxy on this address.
    pub(crate) async fn behind_a_proxy_on(self, address: &str) -> (Self, Proxy) {
        let mut url = Url::parse(self.setting("DATABASE_URL")).expect("an address");
        let proxy = Proxy::on(address, url.port().expect("the cluster has a port of its own")).await;
        url.set_host(Some(address)).expect("an address can be set");
        url.set_port(Some(proxy.port)).expect("a port can be set");
        (self.with("DATABASE_URL", url.as_str()), proxy)
    }
}

async fn forward(mut near: TcpStream, switch: Arc<Switch>) {
    let cut = switch.cut.notified();
    let port = switch.port.load(Ordering::SeqCst);
    if let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await {
        tokio::select! {
            // Either side may end it.
            _ = copy_bidirectional(&mut near, &mut far) => {}
            () = cut => {}
        }
    }
}
