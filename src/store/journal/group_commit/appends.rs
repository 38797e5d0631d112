//! The webhooks of several requests in one transaction.

use cti_actors::error::StoreError;
use metrics::histogram;
use tokio::sync::oneshot;

use super::writer::Writer;
use crate::{
    store::{
        db::pool::store_error,
        journal::{
            append::{Appended, Inserted, JournalRow},
            pending::DurableSender,
        },
    },
    webhook::new_webhook::NewWebhook,
};

/// The webhooks of one request: all are written or none.
pub(super) struct AppendJob {
    pub(super) webhooks: Vec<NewWebhook>,
    pub(super) reply: oneshot::Sender<Result<Vec<Appended>, StoreError>>,
}

/// Writes the webhooks of these requests, and answers each request.
pub(super) async fn write_appends(writer: &Writer, jobs: Vec<AppendJob>, durable: &DurableSender) {
    let batch = AppendBatch::of(jobs);
    let written = writer.append(batch.rows()).await;
    batch.finish(written, durable);
}

/// The webhooks of several requests on their way into one transaction.
struct AppendBatch {
    requests: Vec<AppendRequest>,
}

struct AppendRequest {
    rows: Vec<JournalRow>,
    reply: oneshot::Sender<Result<Vec<Appended>, StoreError>>,
}

impl AppendBatch {
    /// Assigns the ids, in the order in which the webhooks will be committed.
    fn of(jobs: Vec<AppendJob>) -> Self {
        let requests: Vec<AppendRequest> = jobs
            .into_iter()
            .map(|job| AppendRequest {
                rows: job.webhooks.into_iter().map(JournalRow::assign_id).collect(),
                reply: job.reply,
            })
            .collect();
        let size = requests.iter().map(|request| request.rows.len()).sum::<usize>();
        histogram!("cti_group_commit_batch_size").record(u32::try_from(size).unwrap_or(u32::MAX));
        Self { requests }
    }

    fn rows(&self) -> Vec<&JournalRow> {
        self.requests.iter().flat_map(|request| &request.rows).collect()
    }

    /// Answers every request, then sends on what is new.
    fn finish(self, written: Result<Inserted, sqlx::Error>, durable: &DurableSender) {
        let inserted = match written {
            Ok(inserted) => inserted,
            Err(error) => {
                let failure = store_error(error);
                for request in self.requests {
                    let _ = request.reply.send(Err(failure.clone()));
                }
                return;
            }
        };
        let mut new = Vec::new();
        for request in self.requests {
            let appended = request.rows.iter().map(|row| inserted.outcome(row)).collect();
            new.extend(request.rows.into_iter().filter(|row| inserted.contains(row)));
            // The caller may have stopped waiting; the webhooks are durable all the same and go on below.
            let _ = request.reply.send(Ok(appended));
        }
        durable.send(new);
    }
}
