//! What belongs to a call and comes late, or not by itself: its recording, its voicemail's audio and words.
//!
//! Dialpad is asked for a call about which something is missing, or whose links are good no more: at most once at a
//! time and once in [`SHORTEST_PAUSE`] for each call, whoever wants to know. What it says goes into the journal like a
//! webhook and is told from there; whoever waits for it waits for [`PATIENCE`] at most and then gets what is known.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use cti_actors::{
    clock::Clock,
    id::{AppId, DialpadCallId},
    model::call::Knowledge,
};
use dashmap::{DashMap, mapref::entry::Entry};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tracing::{Instrument, warn};

use crate::{
    dialpad::{
        api::Dialpad,
        client::{DialpadError, request::Urgency},
        media::{Audio, Media, Unheard, Wish},
    },
    store::{
        Store,
        views::calls::{CallName, CallView},
    },
    webhook::payload::{self, Finding},
};

/// How long whoever reads a call waits for what is missing of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the store is asked meanwhile whether it has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(15);
/// How soon Dialpad is asked for the same call again.
const SHORTEST_PAUSE: Duration = Duration::from_secs(30);
/// How many calls of an app are asked for at once because somebody reads them. Where Dialpad's limit is used up, they
/// wait for it, and all others answer without waiting.
const MOST_AT_ONCE: usize = 5;
/// How many calls are remembered for their pauses.
const REMEMBERED: usize = 10_000;

/// Which audio of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// What was said on the call.
    Recording,
    /// What was left on voicemail.
    Voicemail,
}

impl Track {
    fn link(self, known: &Knowledge) -> Option<&str> {
        match self {
            Self::Recording => known.recording().map(String::as_str),
            Self::Voicemail => known.voicemail().map(String::as_str),
        }
    }
}

/// What Dialpad said when it was asked for a call; `None`: it knows of none.
type Answer = Result<Option<Arc<Knowledge>>, DialpadError>;

/// One time that Dialpad was asked, for everybody who wants to know.
#[derive(Clone)]
struct Look {
    began: Instant,
    answer: Shared<BoxFuture<'static, Answer>>,
}

/// Finds what belongs to calls. Cheap to clone.
#[derive(Clone)]
pub struct CallEnrichment {
    store: Store,
    dialpad: Dialpad,
    media: Media,
    clock: Arc<dyn Clock>,
    looks: Arc<DashMap<(AppId, DialpadCallId), Look>>,
    /// Places for those who ask because somebody reads a call.
    places: Arc<DashMap<AppId, Arc<Semaphore>>>,
}

impl CallEnrichment {
    /// Finds them at this Dialpad, and writes them into this store.
    #[must_use]
    pub fn new(store: Store, dialpad: Dialpad, clock: Arc<dyn Clock>) -> Self {
        let media = Media::new(dialpad.clone());
        Self { store, dialpad, media, clock, looks: Arc::default(), places: Arc::default() }
    }

    /// A call with what was missing of it, as far as that can be had soon. The rest is told when it comes.
    pub async fn complete(&self, app: AppId, call: CallView) -> CallView {
        if !lacks_something(&call) {
            return call;
        }
        let found = timeout(PATIENCE, self.find_missing(app, &call)).await;
        found.ok().flatten().unwrap_or(call)
    }

    async fn find_missing(&self, app: AppId, call: &CallView) -> Option<CallView> {
        let places =
            Arc::clone(&self.places.entry(app).or_insert_with(|| Arc::new(Semaphore::new(MOST_AT_ONCE))));
        let place = places.try_acquire_owned().ok()?;
        let ended_at = call.ended_at.unwrap_or(call.created_at);
        let pause = pause_after(self.clock.now(), ended_at);
        let (is_first, look) = self.look(app, call, Urgency::Background, pause, Some(place));
        if !is_first && look.answer.peek().is_some() {
            // It was asked a while ago; what it said then is known.
            return None;
        }
        let known = look.answer.await.ok()??;
        if !fills_a_gap(call, &known) {
            return None;
        }
        loop {
            let now = self.store.calls().find(app, CallName::Ours(call.id)).await.ok()??;
            if now.updated_at != call.updated_at && !fills_a_gap(&now, &known) {
                return Some(now);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Begins to fetch audio of a call, from `link` where one is known. A link that is good no more, or none, is
    /// looked up once.
    ///
    /// # Errors
    /// See [`Unheard`].
    pub async fn listen(
        &self,
        app: AppId,
        call: &CallView,
        track: Track,
        link: Option<&str>,
        wish: &Wish,
    ) -> Result<Audio, Unheard> {
        let in_vain = match link {
            Some(link) => match self.media.fetch(app, link, wish).await {
                Err(reason @ (Unheard::Expired | Unheard::LoginWanted | Unheard::NoAudio)) => reason,
                outcome => return outcome,
            },
            None if lacks_something(call) => Unheard::Gone,
            None => return Err(Unheard::Gone),
        };
        let (_, look) = self.look(app, call, Urgency::Foreground, SHORTEST_PAUSE, None);
        let known = match look.answer.await {
            Ok(known) => known,
            // Nothing is known of a recording, and nobody can be asked.
            Err(DialpadError::NoAccess(_)) if link.is_none() => return Err(Unheard::Gone),
            Err(error) => return Err(error.into()),
        };
        match known.as_deref().and_then(|known| track.link(known)) {
            Some(fresh) => self.media.fetch(app, fresh, wish).await,
            None => Err(in_vain),
        }
    }

    /// Asks Dialpad for a call, unless that is being done or was done less than `pause` ago. Says whether it was not.
    /// `place` is kept until Dialpad has answered, whoever waits for it.
    fn look(
        &self,
        app: AppId,
        call: &CallView,
        urgency: Urgency,
        pause: Duration,
        place: Option<OwnedSemaphorePermit>,
    ) -> (bool, Look) {
        self.forget_the_oldest();
        let begin = || {
            let (enrichment, call) = (self.clone(), call.clone());
            let work = async move {
                let answer = ask(enrichment, app, call, urgency).await;
                drop(place);
                answer
            };
            // A task of its own: it goes on when nobody waits for it any more.
            let work = tokio::spawn(work.in_current_span());
            let lost = |_| Err(DialpadError::Unreachable("The server is stopping".into()));
            let answer = async move { work.await.unwrap_or_else(lost) }.boxed().shared();
            Look { began: Instant::now(), answer }
        };
        match self.looks.entry((app, DialpadCallId(call.dialpad_call_id))) {
            Entry::Occupied(mut entry) => {
                let look = entry.get();
                let is_under_way = look.answer.peek().is_none();
                if is_under_way || look.began.elapsed() < pause {
                    return (false, look.clone());
                }
                let look = begin();
                entry.insert(look.clone());
                (true, look)
            }
            Entry::Vacant(entry) => (true, entry.insert(begin()).clone()),
        }
    }

    /// Keeps the memory of pauses small. What is forgotten may be asked for sooner than it need be.
    fn forget_the_oldest(&self) {
        if self.looks.len() > REMEMBERED {
            self.looks.retain(|_, look| look.began.elapsed() < SHORTEST_PAUSE);
        }
    }
}

/// Asks Dialpad for a call and writes into the journal what is new about it.
async fn ask(enrichment: CallEnrichment, app: AppId, call: CallView, urgency: Urgency) -> Answer {
    let id = DialpadCallId(call.dialpad_call_id);
    let Some(mut details) = enrichment.dialpad.call(app, id, urgency).await? else { return Ok(None) };
    let mut known = payload::details(&details);
    if known.voicemail_transcript.is_none() && lacks_words(&call) {
        // The words are there in any case or not at all: whatever goes wrong here, the rest is worth having.
        if let Ok(Some(words)) = enrichment.dialpad.transcript(app, id, urgency).await {
            details.insert("transcription_text".into(), words.into());
            known = payload::details(&details);
        }
    }
    if says_something_new(&call, &known)
        && let Err(failure) = enrichment.store.journal().append_finding(app, &Finding::Details(details)).await
    {
        warn!(app.id = %app, call.id = %id, error = %failure, "what Dialpad said of a call could not be kept");
    }
    Ok(Some(Arc::new(known)))
}

/// Whether anything that belongs to a call that is over has not come.
fn lacks_something(call: &CallView) -> bool {
    if call.status != "ended" {
        return false;
    }
    let lacks_recording = call.outcome.as_deref() == Some("answered") && call.recording_url.is_none();
    let lacks_voicemail = match &call.voicemail {
        Some(voicemail) => voicemail.recording_url.is_none() || voicemail.transcript.is_none(),
        None => call.is_voicemail && !call.voicemail_was_deleted,
    };
    lacks_recording || lacks_voicemail
}

/// Whether the words on voicemail are missing. A transcript of the call holds them only if nobody answered.
fn lacks_words(call: &CallView) -> bool {
    let has_words = call.voicemail.as_ref().is_some_and(|voicemail| voicemail.transcript.is_some());
    call.outcome.as_deref() == Some("voicemail") && !has_words && !call.voicemail_was_deleted
}

/// What is known of a call's enrichment, side by side: before, and now.
fn pairs<'a>(call: &'a CallView, known: &'a Knowledge) -> [(Option<&'a String>, Option<&'a String>); 3] {
    let voicemail = call.voicemail.as_ref();
    let unless_deleted = |now: Option<&'a String>| now.filter(|_| !call.voicemail_was_deleted);
    let words = known.voicemail_transcript.as_ref();
    [
        (call.recording_url.as_ref(), known.recording()),
        (voicemail.and_then(|it| it.recording_url.as_ref()), unless_deleted(known.voicemail())),
        (voicemail.and_then(|it| it.transcript.as_ref()), unless_deleted(words)),
    ]
}

fn fills_a_gap(call: &CallView, known: &Knowledge) -> bool {
    pairs(call, known).iter().any(|(before, now)| before.is_none() && now.is_some())
}

fn says_something_new(call: &CallView, known: &Knowledge) -> bool {
    pairs(call, known).iter().any(|(before, now)| now.is_some() && before != now)
}

/// How long not to ask for a call again. Recordings come within minutes or never: of most calls there is none.
fn pause_after(now: DateTime<Utc>, ended_at: DateTime<Utc>) -> Duration {
    let age = now - ended_at;
    if age < TimeDelta::minutes(15) {
        SHORTEST_PAUSE
    } else if age < TimeDelta::days(1) {
        Duration::from_secs(10 * 60)
    } else {
        Duration::from_secs(6 * 3600)
    }
}
