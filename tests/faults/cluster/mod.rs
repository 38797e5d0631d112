//! Several servers on one PostgreSQL, behind HAProxy, which gives each new connection to the next of them.
//!
//! `CTI_TEST_REQUIRE_PROXIES=1` turns the skipped tests of a machine without HAProxy into failures.

mod balancer;
mod crm;
mod failover;
mod load;
mod measured;
mod survives;

use std::{path::PathBuf, time::Duration};

use futures_util::future::join_all;

pub(crate) use self::load::Load;
use self::{balancer::Balancer, crm::Crms, load::Sent};
use crate::support::{App, Proxy, STOP_TIMEOUT, TestServer, World, free_port, installed};

const LOCALHOST: &str = "127.0.0.1";

/// Servers of one database, and the balancer before them.
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) members: Vec<Member>,
    pub(crate) balancer: Balancer,
}

/// A server with an address, a spool and, if it has a proxy, a way to the database of its own, which can be cut.
pub(crate) struct Member {
    world: World,
    database: Option<Proxy>,
    server: Option<TestServer>,
}

impl Cluster {
    /// Starts one with this many servers; `None`, with a message, where PostgreSQL or HAProxy is not installed.
    pub(crate) async fn start(test: &str, size: usize, settings: &[(&str, &str)]) -> Option<Self> {
        let world = World::on_postgres(test).await?;
        let with = |world: World, (name, value): &(&str, &str)| world.with(name, value);
        Self::around(settings.iter().fold(world, with), &vec![Some(LOCALHOST); size], None).await
    }

    /// Starts one whose servers are of another version.
    pub(crate) async fn start_version(test: &str, size: usize, program: PathBuf) -> Option<Self> {
        Self::around(World::on_postgres(test).await?, &vec![Some(LOCALHOST); size], Some(program)).await
    }

    /// Starts one server for each of these addresses, at which it has a proxy to the database; those without one reach the
    /// database's hosts themselves.
    async fn around(world: World, proxies: &[Option<&str>], program: Option<PathBuf>) -> Option<Self> {
        let haproxy = installed("haproxy", "CTI_TEST_REQUIRE_PROXIES")?;
        let ports: Vec<String> = proxies.iter().map(|_| free_port()).collect();
        let mut members = Vec::new();
        for (port, proxy) in ports.iter().zip(proxies) {
            members.push(Member::start(&world, port, *proxy, program.clone()).await);
        }
        let balancer = Balancer::start(&haproxy, &ports).await;
        Some(Self { world, members, balancer })
    }

    /// Returns the first server that runs.
    pub(crate) fn any(&self) -> &TestServer {
        self.members.iter().find_map(|member| member.server.as_ref()).expect("a server runs")
    }

    pub(crate) async fn create_apps(&self, count: usize) -> Vec<App> {
        join_all((1..=count).map(async |number| self.any().create_app(&format!("CRM {number}")).await)).await
    }

    /// Sends a load to so many apps while something happens to the cluster. Asserts that nothing was lost or repeated and that
    /// the order was kept. Returns each webhook, and the time from it to its event at the CRM.
    pub(crate) async fn through(
        mut self,
        apps: usize,
        load: Load,
        happening: impl AsyncFnOnce(&mut Self, &Load),
    ) -> Vec<(Sent, Duration)> {
        let apps = self.create_apps(apps).await;
        let crms = Crms::of(&self, &apps);
        let url = self.balancer.url.clone();
        let (sent, ()) = tokio::join!(load.send(&url, &apps), happening(&mut self, &load));
        let latencies = crms.finish(&self, &load, &sent).await;
        self.finish().await;
        sent.into_iter().zip(latencies).collect()
    }

    /// Stops what runs. The servers go before the connections to their database.
    pub(crate) async fn finish(mut self) {
        self.members.iter_mut().for_each(|member| drop(member.server.take()));
        self.world.finish().await;
    }
}

impl Member {
    async fn start(world: &World, port: &str, proxy: Option<&str>, program: Option<PathBuf>) -> Self {
        let (world, database) = match proxy {
            None => (world.clone(), None),
            Some(address) => {
                let (world, proxy) = world.clone().behind_a_proxy_on(address).await;
                (world, Some(proxy))
            }
        };
        let spool = world.folder().join(format!("spool-of-{port}"));
        let world = world.with("PORT", port).with("SPOOL_DIR", spool.to_str().expect("a name in ASCII"));
        let first = program.map_or_else(|| world.clone(), |program| world.clone().with_program(program));
        let server = Some(first.start().await);
        Self { world, database, server }
    }

    pub(crate) fn server(&self) -> &TestServer {
        self.server.as_ref().expect("it runs")
    }

    /// Its way to the database.
    pub(crate) fn database(&self) -> &Proxy {
        self.database.as_ref().expect("it has a proxy")
    }

    /// Sends it a signal, such as `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        self.server().process.signal(signal);
    }

    /// Kills it for good.
    pub(crate) fn kill(&mut self) {
        self.server.take().expect("it runs").process.kill();
    }

    /// Stops it as a service manager does, and starts this version.
    pub(crate) async fn restart(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.process.stop(STOP_TIMEOUT).await;
        drop(server);
        self.server = Some(self.world.start().await);
    }
}
