//! PostgreSQL behind PgBouncer, which gives each transaction of the server another session.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::postgres::{Cluster, ROLE};
use crate::process::{Process, Signal, TICK, installed};
use crate::report::Row;
use crate::site::{Kind, Site, free_port};
use crate::trial::{RECOVERY_TIMEOUT, Trial};
use crate::{Case, Failure, Plan};

const START_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn run(plan: &Plan) -> Result<Row, Failure> {
    let mut site = Site::create(plan, Kind::Postgres).await?;
    let folder = tempfile::Builder::new().prefix("cti-faults-pooler-").tempdir_in(&plan.folder)?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let (behind, port) = (site.postgres()?.port, free_port()?);
    let file = folder.path().join("pgbouncer.ini");
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={behind} user={ROLE}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
         default_pool_size = 4\n"
    );
    fs::write(&file, settings)?;
    let program = installed("pgbouncer").ok_or("pgbouncer is not installed")?;
    let start = async || -> Result<Process, Failure> {
        let mut command = Command::new(&program);
        if rustix::process::geteuid().is_root() {
            // It refuses to run as root.
            command.args(["-u", "nobody"]);
        }
        let process = Process::spawn(command.arg(&file), &folder.path().join("log"))?;
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if began.elapsed() > START_TIMEOUT {
                return Err(format!("PgBouncer does not start:\n{}", process.output()).into());
            }
            sleep(TICK).await;
        }
        Ok(process)
    };
    let mut pooler = start().await?;
    site.set("DATABASE_URL", Cluster::url(port));
    let mut trial = Trial::start(plan, Kind::Postgres, site).await?;
    trial.begin_load();
    trial
        .rounds(plan.count(6, 2), async |_, round| {
            pooler.signal(if round % 2 == 0 { Signal::KILL } else { Signal::INT })?;
            pooler.exit(RECOVERY_TIMEOUT).await?;
            pooler = start().await?;
            Ok(())
        })
        .await?;
    let row = trial.finish(Case::Pooler.name()).await;
    drop(pooler);
    row
}
