//! The writer of a spool: a thread that owns the newest segment. Everything that waits when it is free shares one write
//! and one fsync.

use std::{
    fs::File,
    io::{self, Write},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use cti_actors::background::caught_blocking;
use tokio::sync::oneshot;
use tracing::warn;

use super::{
    Refused, Shared,
    folder::{Folder, is_removed},
};

/// How many webhooks may wait for the writer.
const MAX_WAITING: usize = 8192;
/// How many webhooks share a write.
const MAX_BATCH: usize = 512;
/// The length of a segment: what is drained again after a crash in the middle, and what is freed at once.
const MAX_SEGMENT_BYTES: u64 = 8 << 20;
/// A spool has at least so many segments, so that a small one is freed in parts too.
const MIN_SEGMENTS: u64 = 16;

/// What the writer is asked for.
pub(super) enum Job {
    /// Write a frame, and answer once it is durable.
    Append { frame: Vec<u8>, reply: oneshot::Sender<Result<(), Refused>> },
    /// End the newest segment, and hand over all that were not handed over before.
    Seal { reply: oneshot::Sender<Vec<Segment>> },
    /// Let webhooks go to the database, if the spool is empty. Answers whether it is.
    Finish { reply: oneshot::Sender<bool> },
}

/// A segment that is not written to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// How many webhooks it counts for.
    pub(super) webhooks: u64,
}

/// Starts the writer. It ends when all senders are dropped. `sealed` are the segments of earlier runs.
pub(super) fn start(
    folder: Arc<Folder>,
    shared: Arc<Shared>,
    max_bytes: u64,
    sealed: Vec<Segment>,
) -> io::Result<SyncSender<Job>> {
    let (jobs, received) = sync_channel(MAX_WAITING);
    let next_number = sealed.last().map_or(1, |last| last.number + 1);
    let max_segment = (max_bytes / MIN_SEGMENTS).min(MAX_SEGMENT_BYTES);
    let writer = Writer { folder, shared, max_bytes, max_segment, next_number, newest: None, sealed };
    thread::Builder::new().name("cti-spool".into()).spawn(move || {
        let mut writer = writer;
        while caught_blocking("write the spool", || writer.run(&received)).is_none() {
            writer.abandon();
        }
    })?;
    Ok(jobs)
}

struct Writer {
    folder: Arc<Folder>,
    shared: Arc<Shared>,
    max_bytes: u64,
    max_segment: u64,
    next_number: u64,
    newest: Option<Newest>,
    sealed: Vec<Segment>,
}

/// The segment that is written to.
struct Newest {
    file: File,
    segment: Segment,
}

type Append = (Vec<u8>, oneshot::Sender<Result<(), Refused>>);

impl Writer {
    fn run(&mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut appends: Vec<Append> = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Job::Append { frame, reply } => {
                        appends.push((frame, reply));
                        if appends.len() < MAX_BATCH {
                            next = jobs.try_recv().ok();
                        }
                    }
                    other => {
                        self.append(std::mem::take(&mut appends));
                        self.answer(other);
                    }
                }
            }
            self.append(appends);
        }
    }

    fn answer(&mut self, job: Job) {
        match job {
            Job::Append { frame, reply } => self.append(vec![(frame, reply)]),
            Job::Seal { reply } => {
                self.seal();
                // Without a receiver the server is stopping; the next run finds the segments.
                let _ = reply.send(std::mem::take(&mut self.sealed));
            }
            Job::Finish { reply } => {
                let is_empty = self.newest.is_none() && self.sealed.is_empty();
                if is_empty {
                    self.shared.gate.emptied();
                }
                let _ = reply.send(is_empty);
            }
        }
    }

    /// Writes these frames and answers each.
    fn append(&mut self, appends: Vec<Append>) {
        let mut batch = Vec::new();
        let mut replies = Vec::new();
        let mut room = self.max_bytes.saturating_sub(self.shared.bytes());
        for (frame, reply) in appends {
            let len = u64::try_from(frame.len()).unwrap_or(u64::MAX);
            if len > room {
                self.shared.set_problem(Refused::Full);
                let _ = reply.send(Err(Refused::Full));
                continue;
            }
            room -= len;
            batch.extend_from_slice(&frame);
            replies.push(reply);
        }
        if replies.is_empty() {
            return;
        }
        let count = u64::try_from(replies.len()).unwrap_or(u64::MAX);
        let written = self.write(&batch, count).map_err(|error| Refused::Failed(error.to_string()));
        match &written {
            Ok(()) => {
                self.shared.works();
                // Before the answers: no webhook that is sent after one of them may overtake it.
                self.shared.gate.spooled();
            }
            Err(error) => {
                warn!(%error, folder = %self.folder.path().display(), "a webhook could not be spooled");
                self.shared.set_problem(error.clone());
                self.abandon();
            }
        }
        for reply in replies {
            // A request that no longer waits answered that the webhook is not kept; a repetition is a duplicate.
            let _ = reply.send(written.clone());
        }
    }

    fn write(&mut self, batch: &[u8], count: u64) -> io::Result<()> {
        if self.newest.as_ref().is_some_and(|newest| newest.segment.bytes >= self.max_segment) {
            self.seal();
        }
        let newest = match &mut self.newest {
            Some(newest) => newest,
            empty => {
                let number = self.next_number;
                let file = self.folder.create(number)?;
                self.next_number += 1;
                empty.insert(Newest { file, segment: Segment { number, bytes: 0, webhooks: 0 } })
            }
        };
        newest.file.write_all(batch)?;
        newest.file.sync_data()?;
        if is_removed(&newest.file)? {
            return Err(io::Error::new(io::ErrorKind::NotFound, "its file was removed"));
        }
        let bytes = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        newest.segment.bytes += bytes;
        newest.segment.webhooks += count;
        self.shared.add(bytes, count);
        Ok(())
    }

    fn seal(&mut self) {
        self.sealed.extend(self.newest.take().map(|newest| newest.segment));
    }

    /// Ends the newest segment after a failure or a panic: after a failed fsync, nothing later in the same file can be trusted.
    fn abandon(&mut self) {
        let Some(newest) = self.newest.take() else { return };
        // Frames that stay there all the same were not acknowledged; they are authentic, so they may be drained.
        let _ = newest.file.set_len(newest.segment.bytes);
        self.sealed.push(newest.segment);
    }
}
