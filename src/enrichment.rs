//! Adds to a call what arrives late or not by itself: its recording, its voicemail's audio and transcript.
//!
//! Dialpad is asked about a call that lacks something, or whose links have expired. All callers share one request, and
//! the next one is sent no sooner than [`MIN_LOOKUP_INTERVAL`]. The answer is stored in the journal like a webhook, and
//! the engine emits it. A caller waits for at most [`ENRICH_TIMEOUT`] and then gets what is known.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use cti_actors::{
    clock::Clock,
    id::{AppId, DialpadCallId},
    model::call::{Knowledge, Outcome, Status, recording_parts},
};
use dashmap::DashMap;
use moka::{future::Cache, policy::EvictionPolicy};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tracing::warn;

use crate::{
    dialpad::{
        api::Dialpad,
        client::{DialpadError, request::Urgency},
        media::{Audio, Media, MediaError, RangeRequest},
    },
    store::{
        Store,
        views::calls::{CallRef, CallView},
    },
    tasks::Tasks,
    webhook::payload::{self, Finding},
};

/// How long a client that reads a call waits for what it lacks.
const ENRICH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the store is read meanwhile.
const POLL_INTERVAL: Duration = Duration::from_millis(15);
const MIN_LOOKUP_INTERVAL: Duration = Duration::from_secs(30);
const MAX_LOOKUP_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// How many calls of an app are looked up at once because clients read them. When Dialpad's rate limit is used up, these
/// wait for it, and all others are answered without waiting.
const MAX_LOOKUPS_PER_APP: usize = 5;
/// Of how many calls the last lookup is remembered.
const MAX_REMEMBERED: u64 = 10_000;

/// A kind of audio that belongs to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioKind {
    /// The recording of the conversation.
    Recording,
    /// A part of the recording, counted from 0.
    Part(usize),
    /// The voicemail that the caller left.
    Voicemail,
}

impl AudioKind {
    fn link(self, known: &Knowledge) -> Option<String> {
        match self {
            Self::Recording => known.recording().cloned(),
            Self::Part(index) => recording_parts(&known.recordings).into_iter().nth(index)?.url,
            Self::Voicemail => known.voicemail().cloned(),
        }
    }
}

/// What Dialpad knows about a call; `None` if it has no such call.
type Answer = Result<Option<Arc<Knowledge>>, DialpadError>;

/// The last request to Dialpad for a call.
#[derive(Clone)]
struct Lookup {
    requested_at: Instant,
    answered_at: Instant,
    /// `None` if it was not sent, because the app had too many in progress.
    answer: Option<Answer>,
}

/// Completes calls. Cheap to clone.
#[derive(Clone)]
pub struct CallEnrichment {
    store: Store,
    dialpad: Dialpad,
    media: Media,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    lookups: Cache<(AppId, DialpadCallId), Lookup>,
    /// Limits the background lookups of each app.
    permits: Arc<DashMap<AppId, Arc<Semaphore>>>,
}

impl CallEnrichment {
    /// Creates it for this Dialpad and this store. Lookups run in `tasks`.
    #[must_use]
    pub fn new(store: Store, dialpad: Dialpad, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        let media = Media::new(dialpad.clone());
        let lookups = Cache::builder()
            .max_capacity(MAX_REMEMBERED)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(MAX_LOOKUP_INTERVAL)
            .build();
        Self { store, dialpad, media, clock, tasks, lookups, permits: Arc::default() }
    }

    /// Returns a call with what it lacked, as far as that is known soon. The rest is emitted when it arrives.
    pub async fn enrich(&self, app: AppId, call: CallView) -> CallView {
        if !lacks_something(&call) || self.was_erased(app, &call).await {
            return call;
        }
        let enriched = timeout(ENRICH_TIMEOUT, self.find_missing(app, &call)).await;
        enriched.ok().flatten().unwrap_or(call)
    }

    /// Whether a person was erased from a call: what it lacks then is not to come back.
    async fn was_erased(&self, app: AppId, call: &CallView) -> bool {
        self.store.people().was_erased_from(app, DialpadCallId(call.dialpad_call_id)).await.unwrap_or(true)
    }

    async fn find_missing(&self, app: AppId, call: &CallView) -> Option<CallView> {
        let started_at = Instant::now();
        let ended_at = call.ended_at.unwrap_or(call.created_at);
        let interval = lookup_interval(self.clock.now() - ended_at);
        let lookup = self.look_up(app, call, Urgency::Background, interval).await?;
        if lookup.answered_at < started_at {
            // The call was read from the store after that answer was.
            return None;
        }
        let known = lookup.answer?.ok()??;
        if !adds_missing(call, &known) {
            return None;
        }
        loop {
            let now = self.store.calls().find(app, CallRef::Ours(call.id)).await.ok()??;
            if now.updated_at != call.updated_at && !adds_missing(&now, &known) {
                return Some(now);
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Begins to download audio of a call, from `link` if there is one. If the link has expired, or there is none, the
    /// call is looked up once.
    ///
    /// # Errors
    /// See [`MediaError`].
    pub async fn open_audio(
        &self,
        app: AppId,
        call: &CallView,
        kind: AudioKind,
        link: Option<&str>,
        range: &RangeRequest,
    ) -> Result<Audio, MediaError> {
        let is_missing = link.is_none() && lacks_something(call) && !self.was_erased(app, call).await;
        let failure = match link {
            Some(link) => match self.media.fetch(app, link, range).await {
                Err(error @ (MediaError::Expired | MediaError::LoginRequired | MediaError::NotAudio)) => {
                    error
                }
                result => return result,
            },
            None if is_missing => MediaError::NotFound,
            None => return Err(MediaError::NotFound),
        };
        let lookup = self.look_up(app, call, Urgency::Foreground, MIN_LOOKUP_INTERVAL).await;
        let known = match lookup.and_then(|lookup| lookup.answer) {
            Some(Ok(known)) => known,
            // No recording is known, and Dialpad can't be asked.
            Some(Err(DialpadError::NoAccess(_))) if link.is_none() => return Err(MediaError::NotFound),
            Some(Err(error)) => return Err(error.into()),
            None => return Err(DialpadError::Unreachable("The server is stopping".into()).into()),
        };
        let Some(known) = known else { return Err(failure) };
        let denied = |failure| match failure {
            MediaError::Expired => MediaError::Denied,
            other => other,
        };
        match kind.link(&known) {
            Some(fresh) => self.media.fetch(app, &fresh, range).await.map_err(denied),
            // Without the scope Dialpad shows no link either.
            None => Err(denied(failure)),
        }
    }

    /// Looks up a call at Dialpad, unless that was done less than `interval` ago. Concurrent lookups of a call share one
    /// request. Returns `None` when the server stops.
    async fn look_up(
        &self,
        app: AppId,
        call: &CallView,
        urgency: Urgency,
        interval: Duration,
    ) -> Option<Lookup> {
        let key = (app, DialpadCallId(call.dialpad_call_id));
        loop {
            let enrichment = self.clone();
            let call = call.clone();
            let shared = async move {
                let request = request(&enrichment, app, &call, urgency);
                let is_old = |last: &Lookup| last.answer.is_none() || last.requested_at.elapsed() >= interval;
                enrichment.lookups.entry(key).or_insert_with_if(request, is_old).await.into_value()
            };
            // A task of its own: it continues when its caller no longer waits.
            let lookup = self.tasks.spawn(shared).await.ok().flatten()?;
            // A foreground lookup is always sent. This one was shared with a background lookup that was not.
            if lookup.answer.is_some() || urgency == Urgency::Background {
                return Some(lookup);
            }
        }
    }

    /// Returns a permit for a background lookup, if the app has one left.
    fn try_permit(&self, app: AppId) -> Option<OwnedSemaphorePermit> {
        let new = || Arc::new(Semaphore::new(MAX_LOOKUPS_PER_APP));
        let permits = Arc::clone(&self.permits.entry(app).or_insert_with(new));
        permits.try_acquire_owned().ok()
    }
}

async fn request(enrichment: &CallEnrichment, app: AppId, call: &CallView, urgency: Urgency) -> Lookup {
    let requested_at = Instant::now();
    let answer = match urgency {
        Urgency::Foreground => Some(request_details(enrichment, app, call, urgency).await),
        Urgency::Background => match enrichment.try_permit(app) {
            Some(_permit) => Some(request_details(enrichment, app, call, urgency).await),
            None => None,
        },
    };
    Lookup { requested_at, answered_at: Instant::now(), answer }
}

/// Requests a call from Dialpad and writes into the journal what is new about it.
async fn request_details(
    enrichment: &CallEnrichment,
    app: AppId,
    call: &CallView,
    urgency: Urgency,
) -> Answer {
    let id = DialpadCallId(call.dialpad_call_id);
    let Some(mut details) = enrichment.dialpad.call(app, id, urgency).await? else { return Ok(None) };
    let mut known = payload::details(&details);
    if known.voicemail_transcript.is_none() && lacks_voicemail_transcript(call, &known) {
        // Optional: without a transcript, or after a failure, the rest is still worth having.
        if let Ok(Some(transcript)) = enrichment.dialpad.transcript(app, id, urgency).await {
            details.insert("transcription_text".into(), transcript.into());
            known = payload::details(&details);
        }
    }
    if has_news(call, &known)
        && let Err(error) = enrichment.store.journal().append_finding(app, &Finding::Details(details)).await
    {
        warn!(app.id = %app, call.id = %id, %error, "what Dialpad knows about a call could not be stored");
    }
    Ok(Some(Arc::new(known)))
}

/// Returns whether a call has ended and may still get a recording, a voicemail or a transcript.
fn lacks_something(call: &CallView) -> bool {
    if call.status != Status::Ended {
        return false;
    }
    let lacks_recording = call.outcome == Some(Outcome::Answered) && call.recording_url.is_none();
    let lacks_voicemail = match &call.voicemail {
        Some(voicemail) => voicemail.recording_url.is_none() || voicemail.transcript.is_none(),
        None => call.is_voicemail && !call.voicemail_was_deleted,
    };
    lacks_recording || lacks_voicemail
}

/// Returns whether the voicemail's transcript is missing. The transcript of a call contains it only if nobody answered.
fn lacks_voicemail_transcript(call: &CallView, known: &Knowledge) -> bool {
    let has_transcript = call.voicemail.as_ref().is_some_and(|voicemail| voicemail.transcript.is_some());
    let is_new = call.outcome == Some(Outcome::Missed) && known.is_of_a_voicemail();
    let has_voicemail = call.outcome == Some(Outcome::Voicemail) || is_new;
    has_voicemail && !has_transcript && !call.voicemail_was_deleted
}

/// Returns pairs of what a call has and what Dialpad knows: recording, voicemail, transcript.
fn pairs<'a>(call: &'a CallView, known: &'a Knowledge) -> [(Option<&'a String>, Option<&'a String>); 3] {
    let voicemail = call.voicemail.as_ref();
    let unless_deleted = |value: Option<&'a String>| value.filter(|_| !call.voicemail_was_deleted);
    let transcript = known.voicemail_transcript.as_ref();
    [
        (call.recording_url.as_ref(), known.recording()),
        (voicemail.and_then(|mail| mail.recording_url.as_ref()), unless_deleted(known.voicemail())),
        (voicemail.and_then(|mail| mail.transcript.as_ref()), unless_deleted(transcript)),
    ]
}

fn adds_missing(call: &CallView, known: &Knowledge) -> bool {
    pairs(call, known).iter().any(|(before, now)| before.is_none() && now.is_some())
}

fn has_news(call: &CallView, known: &Knowledge) -> bool {
    let parts = recording_parts(&known.recordings);
    let is_new = |part| !call.recordings.iter().any(|known| known.is(part));
    pairs(call, known).iter().any(|(before, now)| now.is_some() && before != now) || parts.iter().any(is_new)
}

/// Returns how long a call of this age is not looked up again. Recordings arrive within minutes or never, and most calls
/// have none.
fn lookup_interval(age: TimeDelta) -> Duration {
    if age < TimeDelta::minutes(15) {
        MIN_LOOKUP_INTERVAL
    } else if age < TimeDelta::days(1) {
        Duration::from_secs(10 * 60)
    } else {
        MAX_LOOKUP_INTERVAL
    }
}
