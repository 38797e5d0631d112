//! A Dialpad that plays what the test says, bytes, redirects and pages that are no audio, and notes who asked with what.
//! It has no OAuth; an app belongs to it by `DIALPAD_API_KEY`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::world::World;

/// A running one. Dropping it closes its door.
pub(crate) struct Jukebox {
    pub(crate) base_url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    left: Arc<AtomicUsize>,
    door: JoinHandle<()>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// By their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Heard {
    /// Where it was asked.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.headers["host"])
    }
}

/// What it plays.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    status: u16,
    headers: String,
    bytes: Vec<u8>,
    goes_on: bool,
    /// How much it says that there is.
    length: Option<usize>,
}

impl Track {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: String::new(), bytes: Vec::new(), goes_on: false, length: None }
    }

    /// The bytes of a sound, or of what calls itself one.
    pub(crate) fn sound(media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(200).header("content-type", media_type).bytes(bytes)
    }

    /// Leads elsewhere.
    pub(crate) fn redirect(location: &str) -> Self {
        Self::new(302).header("location", location)
    }

    pub(crate) fn json(body: &Value) -> Self {
        Self::sound("application/json", body.to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.bytes = bytes.into();
        self
    }

    /// It breaks off in the middle: so much was promised.
    pub(crate) fn promising(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// It never ends: what it consists of comes again and again.
    pub(crate) fn for_ever(mut self) -> Self {
        self.goes_on = true;
        self
    }
}

type Programme = Arc<Mutex<dyn FnMut(&Heard) -> Track + Send>>;

impl Jukebox {
    /// Who asks for a user's own data is told; everything else is the programme's.
    pub(crate) async fn start(programme: impl FnMut(&Heard) -> Track + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let base_url = format!("http://{}", listener.local_addr().expect("it listens"));
        let (heard, left) = (Arc::<Mutex<Vec<Heard>>>::default(), Arc::<AtomicUsize>::default());
        let programme: Programme = Arc::new(Mutex::new(programme));
        let (noted, leaving) = (Arc::clone(&heard), Arc::clone(&left));
        let door = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&noted), Arc::clone(&leaving), Arc::clone(&programme)));
            }
        });
        Self { base_url, heard, left, door }
    }

    /// Plays the same whatever is asked.
    pub(crate) async fn playing(track: Track) -> Self {
        Self::start(move |_| track.clone()).await
    }

    /// All requests but those for a user's own data.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        let heard = self.heard.lock().expect("no programme panics");
        heard.iter().filter(|it| it.target != "/api/v2/users/me").cloned().collect()
    }

    /// Those for a call.
    pub(crate) fn looked_up(&self, call: i64) -> usize {
        let target = format!("/api/v2/call/{call}");
        self.heard().iter().filter(|heard| heard.target == target).count()
    }

    /// How many listeners of something endless have gone away.
    pub(crate) fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }
}

impl Drop for Jukebox {
    fn drop(&mut self) {
        self.door.abort();
    }
}

impl World {
    /// Apps without a connection belong to this Dialpad.
    pub(crate) fn with_jukebox(self, jukebox: &Jukebox) -> Self {
        self.with("DIALPAD_SANDBOX_BASE_URL", &jukebox.base_url)
            .with("DIALPAD_API_KEY", "a-static-key-of-the-tests")
    }
}

async fn serve(
    mut stream: TcpStream,
    heard: Arc<Mutex<Vec<Heard>>>,
    left: Arc<AtomicUsize>,
    programme: Programme,
) {
    while let Some(request) = read(&mut stream).await {
        heard.lock().expect("no programme panics").push(request.clone());
        let track = if request.target == "/api/v2/users/me" {
            Track::json(&json!({"id": "1", "company_id": "12345678"}))
        } else {
            (programme.lock().expect("no programme panics"))(&request)
        };
        let length = track.length.unwrap_or(track.bytes.len());
        let length = if track.goes_on { String::new() } else { format!("content-length: {length}\r\n") };
        let head = format!("HTTP/1.1 {} Playing\r\n{length}{}\r\n", track.status, track.headers);
        if stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        loop {
            if stream.write_all(&track.bytes).await.is_err() {
                left.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if track.length.is_some() {
                return;
            }
            if !track.goes_on {
                break;
            }
        }
    }
}

/// The next request on a connection; none of them has a body.
async fn read(stream: &mut TcpStream) -> Option<Heard> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if bytes.windows(4).any(|it| it == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes).into_owned();
            let mut lines = head.lines();
            let mut words = lines.next()?.split_whitespace();
            let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
            let headers = lines.filter_map(|line| line.split_once(':'));
            let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
            return Some(Heard { method, target, headers: headers.collect() });
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}
