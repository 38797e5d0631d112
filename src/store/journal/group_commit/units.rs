//! Units of work of several apps in one transaction.

use std::{collections::HashMap, sync::Arc};

use cti_actors::{
    error::{Duplicate, StoreError},
    id::{AppId, JournalId},
    unit::{DedupKey, Receipt, Unit},
};
use metrics::histogram;
use tokio::sync::oneshot;

use super::writer::Writer;
use crate::store::ledger::UnitFailure;

/// One unit, and who waits for it.
pub(super) struct UnitJob {
    pub(super) unit: Arc<Unit>,
    pub(super) reply: oneshot::Sender<Result<Receipt, StoreError>>,
}

impl UnitJob {
    /// Returns how many webhooks the unit is about.
    pub(super) fn webhooks(&self) -> usize {
        self.unit.incoming.len() + self.unit.processed.len()
    }

    fn answer(self, written: Result<Receipt, StoreError>) {
        // After the engine has stopped there is no receiver; the unit is durable all the same.
        let _ = self.reply.send(written);
    }
}

/// Writes these units, and answers each.
pub(super) async fn write_units(writer: &Writer, jobs: Vec<UnitJob>) {
    let webhooks: usize = jobs.iter().map(UnitJob::webhooks).sum();
    histogram!("cti_group_commit_batch_size").record(u32::try_from(webhooks).unwrap_or(u32::MAX));
    match write(writer, &jobs).await {
        Ok(receipts) => answer(jobs, receipts),
        Err(UnitFailure::Duplicates) => write_without_duplicates(writer, jobs).await,
        Err(failure) => {
            let failure = failure.into_store_error();
            if jobs.len() == 1 || matches!(failure, StoreError::Unavailable(_)) {
                jobs.into_iter().for_each(|job| job.answer(Err(failure.clone())));
            } else {
                write_one_by_one(writer, jobs).await;
            }
        }
    }
}

async fn write(writer: &Writer, jobs: &[UnitJob]) -> Result<Vec<Receipt>, UnitFailure> {
    let units: Vec<Arc<Unit>> = jobs.iter().map(|job| Arc::clone(&job.unit)).collect();
    writer.write(&units).await
}

fn answer(jobs: Vec<UnitJob>, receipts: Vec<Receipt>) {
    for (job, receipt) in jobs.into_iter().zip(receipts) {
        job.answer(Ok(receipt));
    }
}

/// Tells the units with webhooks that the journal has already which ones those are, and writes the others.
async fn write_without_duplicates(writer: &Writer, jobs: Vec<UnitJob>) {
    let units: Vec<Arc<Unit>> = jobs.iter().map(|job| Arc::clone(&job.unit)).collect();
    let known = match writer.known_webhooks(&units).await {
        Ok(known) => known,
        Err(error) => {
            let failure = UnitFailure::from(error).into_store_error();
            jobs.into_iter().for_each(|job| job.answer(Err(failure.clone())));
            return;
        }
    };
    let mut others = Vec::new();
    for job in jobs {
        let duplicates = duplicates_of(&job.unit, &known);
        if duplicates.is_empty() {
            others.push(job);
        } else {
            job.answer(Err(StoreError::Duplicates(duplicates)));
        }
    }
    write_one_by_one(writer, others).await;
}

fn duplicates_of(unit: &Unit, known: &HashMap<(AppId, DedupKey), JournalId>) -> Vec<Duplicate> {
    let rows = unit.incoming.iter().map(|(row, _)| row);
    let found = rows.filter_map(|row| {
        let first = known.get(&(unit.app_id, row.dedup_key))?;
        Some(Duplicate { webhook: row.id, first: *first })
    });
    found.collect()
}

/// Writes each unit in a transaction of its own, so that a bad one fails alone.
async fn write_one_by_one(writer: &Writer, jobs: Vec<UnitJob>) {
    for job in jobs {
        let written = writer.write(std::slice::from_ref(&job.unit)).await;
        let gone = || StoreError::Unavailable("the unit has no receipt".into());
        let written = written.map_err(UnitFailure::into_store_error);
        job.answer(written.and_then(|receipts| receipts.first().copied().ok_or_else(gone)));
    }
}
