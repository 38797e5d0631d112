//! What the recorder wrote: the changes of files in the order in which they were made.

use std::path::PathBuf;

use crate::Failure;

/// The length of the header of a record.
const HEADER: usize = 24;

/// One change, or one sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    Created {
        file: u64,
        path: PathBuf,
    },
    Written {
        file: u64,
        offset: usize,
        bytes: &'a [u8],
    },
    Truncated {
        file: u64,
        length: usize,
    },
    /// What was recorded of the file before record `begun` is on the disk.
    Synced {
        file: u64,
        begun: usize,
    },
    /// The names that were made or removed in the folder before record `begun` are on the disk.
    FolderSynced {
        path: PathBuf,
        begun: usize,
    },
    Unlinked {
        path: PathBuf,
    },
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
}

/// A record, and where it ends in the recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) operation: Operation<'a>,
    pub(super) end: u64,
}

/// Parses a recording. The last record may be cut: its program was killed.
pub(super) fn parse(recording: &[u8]) -> Result<Vec<Entry<'_>>, Failure> {
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some(header) = recording.get(at..at + HEADER) {
        let word = |from: usize| header[from..from + 4].try_into().map(u32::from_ne_bytes);
        let long = |from: usize| header[from..from + 8].try_into().map(u64::from_ne_bytes);
        let (kind, length, file, number) =
            (word(0)?, word(4)? as usize, long(8)?, usize::try_from(long(16)?)?);
        let Some(payload) = recording.get(at + HEADER..at + HEADER + length) else { break };
        let path = || PathBuf::from(String::from_utf8_lossy(payload).into_owned());
        let operation = match kind {
            1 => Operation::Created { file, path: path() },
            2 => Operation::Written { file, offset: number, bytes: payload },
            3 => Operation::Truncated { file, length: number },
            4 => Operation::Synced { file, begun: number },
            5 => Operation::FolderSynced { path: path(), begun: number },
            6 => Operation::Unlinked { path: path() },
            7 => {
                let text = String::from_utf8_lossy(payload).into_owned();
                let (from, to) = text.split_once('\0').ok_or("a rename has two names")?;
                Operation::Renamed { from: from.into(), to: to.into() }
            }
            other => return Err(format!("a record of an unknown kind: {other}").into()),
        };
        at += HEADER + length;
        entries.push(Entry { operation, end: at as u64 });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u32, file: u64, number: u64, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        [&kind.to_ne_bytes()[..], &length.to_ne_bytes(), &file.to_ne_bytes(), &number.to_ne_bytes(), payload]
            .concat()
    }

    #[test]
    fn records_are_parsed_and_one_that_is_cut_is_left_out() {
        let whole =
            [record(1, 5, 0, b"/a/b"), record(2, 5, 7, b"xyz"), record(7, 0, 0, b"/a/b\0/a/c")].concat();
        let recording = [&whole[..], &record(3, 5, 0, b"")[..10]].concat();
        let entries = parse(&recording).unwrap();
        let operations: Vec<_> = entries.iter().map(|entry| entry.operation.clone()).collect();
        assert_eq!(
            operations,
            [
                Operation::Created { file: 5, path: "/a/b".into() },
                Operation::Written { file: 5, offset: 7, bytes: b"xyz" },
                Operation::Renamed { from: "/a/b".into(), to: "/a/c".into() },
            ]
        );
        assert_eq!(entries[2].end, whole.len() as u64);
        assert!(parse(&record(9, 0, 0, b"")).is_err());
    }
}
