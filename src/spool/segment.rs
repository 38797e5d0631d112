//! Reading segments.

use std::{io, sync::Arc};

use metrics::counter;
use tracing::{error, warn};

use super::{
    folder::Folder,
    frame::{Piece, pieces},
    record::Record,
    writer::Segment,
};

/// Counts what is in the segments of earlier runs. What is damaged counts for nothing; it is reported when it is drained.
pub(super) fn count_all(folder: &Folder) -> io::Result<Vec<Segment>> {
    let segments = folder.segments()?.into_iter().map(|number| {
        let content = folder.read(number)?;
        let webhooks = pieces(&content).filter(|piece| matches!(piece, Piece::Record(_))).count();
        Ok(Segment {
            number,
            bytes: u64::try_from(content.len()).unwrap_or(u64::MAX),
            webhooks: u64::try_from(webhooks).unwrap_or(u64::MAX),
        })
    });
    segments.collect()
}

/// Reads the webhooks of a segment, oldest first. What is damaged is set aside and reported; a torn end is left out.
pub(super) async fn read(folder: &Arc<Folder>, number: u64) -> io::Result<Vec<Record>> {
    let folder = Arc::clone(folder);
    let read = tokio::task::spawn_blocking(move || {
        let content = match folder.read(number) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                error!(segment = number, "a file of the spool was removed, and its webhooks with it");
                return Ok(Vec::new());
            }
            content => content?,
        };
        let mut records = Vec::new();
        for piece in pieces(&content) {
            match piece {
                Piece::Record(body) => match Record::decode(body) {
                    Some(record) => records.push(record),
                    None => report_damage(&folder, number, body),
                },
                Piece::Damaged(bytes) => report_damage(&folder, number, bytes),
                Piece::Torn(_) => {}
            }
        }
        Ok(records)
    });
    read.await.map_err(io::Error::other)?
}

fn report_damage(folder: &Folder, segment: u64, bytes: &[u8]) {
    counter!("cti_spool_damaged_total").increment(1);
    warn!(
        segment,
        bytes = bytes.len(),
        folder = %folder.path().display(),
        "a webhook in the spool is damaged and can't be processed; it was set aside in the file `damaged`"
    );
    set_aside(folder, bytes);
}

/// Sets a webhook aside that the database refuses, so that it does not keep the others from being processed.
pub(super) fn report_refused(folder: &Folder, record: &Record, failure: &str) {
    counter!("cti_spool_damaged_total").increment(1);
    error!(
        error = failure,
        received_at = %record.received_at,
        "the database refuses a webhook of the spool; it was set aside in the file `damaged`"
    );
    let mut frame = Vec::new();
    super::frame::write_frame(&record.encode(), &mut frame);
    set_aside(folder, &frame);
}

fn set_aside(folder: &Folder, bytes: &[u8]) {
    if let Err(error) = folder.set_aside(bytes) {
        warn!(%error, "what is damaged in the spool could not be set aside");
    }
}
