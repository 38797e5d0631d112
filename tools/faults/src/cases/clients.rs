//! Clients that read slowly, and clients that come back all at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rand::RngExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::Failure;
use crate::call::Call;
use crate::process::TICK;
use crate::receiver::{lock, parse};
use crate::slow_stream::SlowStream;
use crate::tally::quantile;
use crate::trial::{RECOVERY_TIMEOUT, Trial};

const SLOW_BYTES_PER_SECOND: usize = 1_024;
/// Within this time after a break, a client connects again.
const MAX_RECONNECT_DELAY: Duration = Duration::from_millis(1_000);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How late an event may be for others beside a slow client.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// Opens a WebSocket over a stream that may be slow.
async fn open(
    server: SocketAddr,
    api_key: &str,
    query: &str,
    bytes_per_second: Option<usize>,
) -> Result<WebSocketStream<SlowStream<TcpStream>>, Failure> {
    let socket = TcpSocket::new_v4()?;
    if bytes_per_second.is_some() {
        // What the kernel takes in for the client has arrived from the view of the server.
        socket.set_recv_buffer_size(4 << 10)?;
    }
    let stream = SlowStream::new(socket.connect(server).await?, bytes_per_second);
    let mut request = format!("ws://{server}/ws?{query}").into_client_request()?;
    request.headers_mut().insert("x-api-key", HeaderValue::from_str(api_key)?);
    let (socket, _) = timeout(CONNECT_TIMEOUT, client_async(request, stream)).await??;
    Ok(socket)
}

/// Reads events until the connection ends or there is no more time, and adds their `seq`.
async fn read(socket: &mut WebSocketStream<SlowStream<TcpStream>>, until: Instant, seqs: &mut Vec<u64>) {
    let left = || until.saturating_duration_since(Instant::now());
    while let Ok(Some(Ok(message))) = timeout(left(), socket.next()).await {
        let Message::Text(text) = message else { continue };
        seqs.extend(event_seq(&text));
    }
}

/// Returns the `seq` of an event; `None` for any other message.
fn event_seq(text: &str) -> Option<u64> {
    Some(parse(&serde_json::from_str(text).ok()?)?.seq)
}

pub(super) async fn slow(trial: &mut Trial) -> Result<(), Failure> {
    let (server, key) = (trial.site.addr, trial.app.api_key.clone());
    let mut socket = open(server, &key, "after=0", Some(SLOW_BYTES_PER_SECOND)).await?;
    trial.begin_load();
    trial.calm().await;
    trial.fault_begins();
    let mut seqs = Vec::new();
    let until = Instant::now() + trial.plan.time(90, 4_000);
    // Until the server closes it, or the time is over.
    read(&mut socket, until, &mut seqs).await;
    drop(socket);
    trial.fault_ends();
    let (slowly, mut delays) = (seqs.len(), trial.tally().deliveries());
    let delay = quantile(&mut delays, 0.99).unwrap_or_default();
    trial.expect(
        delay < MAX_DELAY,
        &format!("beside a slow client, events came {delay:?} after their answers"),
    );
    trial.end_load().await?;
    trial.recovers().await?;

    let wanted = trial.receiver.last_seq();
    let resumed = Instant::now();
    while seqs.last().is_none_or(|last| *last < wanted) && resumed.elapsed() < RECOVERY_TIMEOUT {
        let after = seqs.last().copied().unwrap_or_default();
        let mut socket = open(server, &key, &format!("after={after}"), None).await?;
        read(&mut socket, Instant::now() + Duration::from_secs(2), &mut seqs).await;
    }
    // More may have come meanwhile.
    let is_whole = seqs.last() >= Some(&wanted) && seqs.iter().copied().eq(1..=seqs.len() as u64);
    trial.expect(is_whole, &format!("the slow client received {} of {wanted} events", seqs.len()));
    trial.note(format!("{slowly} events at 1 KB/s, then the rest up to {wanted}; others: p99 {delay:.1?}"));
    Ok(())
}

/// What one reconnecting client, which follows one Dialpad user, has received.
#[derive(Debug, Default)]
struct Followed {
    user: i64,
    seqs: Mutex<Vec<u64>>,
}

impl Followed {
    fn last(&self) -> u64 {
        lock(&self.seqs).last().copied().unwrap_or_default()
    }
}

/// Many clients that reconnect whenever their connection ends.
struct Crowd {
    clients: Vec<Arc<Followed>>,
    running: Vec<JoinHandle<()>>,
    connected: Arc<AtomicUsize>,
}

impl Crowd {
    fn start(count: u32, server: SocketAddr, api_key: &str, trial: &mut Trial) -> Self {
        let connected = Arc::<AtomicUsize>::default();
        let mut crowd = Self { clients: Vec::new(), running: Vec::new(), connected };
        for number in 0..count {
            let followed = Arc::new(Followed { user: Call::recent(number).user(), ..Followed::default() });
            crowd.clients.push(Arc::clone(&followed));
            let (api_key, connected) = (api_key.to_owned(), Arc::clone(&crowd.connected));
            let delay = MAX_RECONNECT_DELAY.mul_f64(trial.random.random::<f64>());
            crowd.running.push(tokio::spawn(async move {
                loop {
                    sleep(delay).await;
                    let query = format!("dialpad_user_id={}&after={}", followed.user, followed.last());
                    let Ok(mut socket) = open(server, &api_key, &query, None).await else { continue };
                    connected.fetch_add(1, Ordering::AcqRel);
                    while let Some(Ok(message)) = socket.next().await {
                        let Message::Text(text) = message else { continue };
                        if let Some(seq) = event_seq(&text) {
                            lock(&followed.seqs).push(seq);
                        }
                    }
                    connected.fetch_sub(1, Ordering::AcqRel);
                }
            }));
        }
        crowd
    }

    async fn all_connected(&self, limit: Duration) -> bool {
        let began = Instant::now();
        while self.connected.load(Ordering::Acquire) < self.clients.len() {
            if began.elapsed() > limit {
                return false;
            }
            sleep(TICK).await;
        }
        true
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

pub(super) async fn reconnect(trial: &mut Trial) -> Result<(), Failure> {
    let (server, key) = (trial.site.addr, trial.app.api_key.clone());
    let count = trial.plan.count(5_000, 150);
    let crowd = Crowd::start(count, server, &key, trial);
    let is_open = crowd.all_connected(RECOVERY_TIMEOUT).await;
    trial.expect(is_open, "not all clients could connect");
    trial.begin_load();
    let rounds = trial.plan.count(3, 2);
    trial
        .rounds(rounds, async |trial, _| {
            trial.kill_server()?;
            while crowd.connected.load(Ordering::Acquire) > 0 {
                sleep(TICK).await;
            }
            trial.start_server().await
        })
        .await?;
    let is_open = crowd.all_connected(RECOVERY_TIMEOUT).await;
    trial.expect(is_open, "not all clients could connect again");
    trial.end_load().await?;
    trial.calm().await;
    check(trial, &crowd).await?;
    trial.note(format!("{count} clients"));
    Ok(())
}

/// Checks that each client has received exactly the events of its user.
async fn check(trial: &mut Trial, crowd: &Crowd) -> Result<(), Failure> {
    let began = Instant::now();
    let mut differing = crowd.clients.len();
    while differing > 0 && began.elapsed() < RECOVERY_TIMEOUT {
        sleep(TICK * 100).await;
        // Each time: the ends of interactions are emitted a while after their calls.
        let mut by_user: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
        for seen in trial.api.events(&trial.app).await? {
            if let Some(call) = seen.call {
                by_user.entry(Call::recent(call).user()).or_default().push(seen.seq);
            }
        }
        let differs = |client: &&Arc<Followed>| {
            *lock(&client.seqs) != by_user.get(&client.user).cloned().unwrap_or_default()
        };
        differing = crowd.clients.iter().filter(differs).count();
    }
    trial.expect(differing == 0, &format!("{differing} clients did not receive exactly their events"));
    Ok(())
}
