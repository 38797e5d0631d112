//! A disk that loses power: what was synced is there, what was not may be there, in part, or in another order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use super::recording::Operation;

/// What a disk writes as a whole.
const SECTOR: usize = 512;

/// What becomes of the changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Loss {
    /// None of them is there.
    All,
    /// Each sector is there with this probability.
    Sectors(f64),
    /// All are there, as after a kill.
    Nothing,
}

#[derive(Clone, Debug)]
enum Change<'a> {
    Write { offset: usize, bytes: &'a [u8] },
    Truncate { length: usize },
}

#[derive(Clone, Debug, Default)]
struct File<'a> {
    content: Vec<u8>,
    /// Not synced, with the number of their record.
    pending: Vec<(usize, Change<'a>)>,
}

/// A change of the names in a folder.
#[derive(Clone, Debug)]
enum Naming {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Naming {
    fn is_in(&self, folder: &Path) -> bool {
        match self {
            Self::Add(path, _) | Self::Remove(path) | Self::Rename(path, _) => path.parent() == Some(folder),
        }
    }
}

type Names = BTreeMap<PathBuf, usize>;

/// The files of a recording up to some record.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk<'a> {
    files: Vec<File<'a>>,
    /// The newest file with each inode.
    inodes: BTreeMap<u64, usize>,
    names: Names,
    pending_names: Vec<(usize, Naming)>,
    records: usize,
    /// From this record on nothing is synced: a disk that lies. For checks of the check.
    lies_from: Option<usize>,
}

impl<'a> Disk<'a> {
    /// Creates a disk on which syncs do nothing from this record on.
    pub(super) fn lying_from(record: usize) -> Self {
        Self { lies_from: Some(record), ..Self::default() }
    }

    /// Applies the next record.
    pub(super) fn apply(&mut self, operation: &Operation<'a>) {
        let record = self.records;
        self.records += 1;
        let lies = self.lies_from.is_some_and(|from| record >= from);
        match operation {
            Operation::Created { file, path } => {
                self.files.push(File::default());
                let number = self.files.len() - 1;
                self.inodes.insert(*file, number);
                self.pending_names.push((record, Naming::Add(path.clone(), number)));
            }
            Operation::Written { file, offset, bytes } => {
                self.change(*file, record, Change::Write { offset: *offset, bytes });
            }
            Operation::Truncated { file, length } => {
                self.change(*file, record, Change::Truncate { length: *length });
            }
            Operation::Synced { file, begun } if !lies => self.sync(*file, *begun),
            Operation::FolderSynced { path, begun } if !lies => self.sync_folder(path, *begun),
            Operation::Synced { .. } | Operation::FolderSynced { .. } => {}
            Operation::Unlinked { path } => {
                self.pending_names.push((record, Naming::Remove(path.clone())));
            }
            Operation::Renamed { from, to } => {
                self.pending_names.push((record, Naming::Rename(from.clone(), to.clone())));
            }
        }
    }

    fn change(&mut self, inode: u64, record: usize, change: Change<'a>) {
        if let Some(number) = self.inodes.get(&inode) {
            self.files[*number].pending.push((record, change));
        }
    }

    fn sync(&mut self, inode: u64, begun: usize) {
        let Some(&number) = self.inodes.get(&inode) else { return };
        let File { content, pending } = &mut self.files[number];
        let (synced, left) = std::mem::take(pending).into_iter().partition(|(record, _)| *record < begun);
        *pending = left;
        let synced: Vec<(usize, Change<'_>)> = synced;
        synced.iter().for_each(|(_, change)| apply(content, change));
    }

    fn sync_folder(&mut self, folder: &Path, begun: usize) {
        let is_synced = |(record, naming): &(usize, Naming)| *record < begun && naming.is_in(folder);
        let (synced, left) = std::mem::take(&mut self.pending_names).into_iter().partition(is_synced);
        self.pending_names = left;
        let synced: Vec<(usize, Naming)> = synced;
        synced.iter().for_each(|(_, naming)| rename(&mut self.names, naming));
    }

    /// Returns the files that are there after the power failed at this moment.
    pub(super) fn after_power_loss(
        &self,
        loss: Loss,
        random: &mut Xoshiro256PlusPlus,
    ) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut names = self.names.clone();
        // The names of a file system change in their order: its journal sees to it.
        let kept = match loss {
            Loss::All => 0,
            Loss::Nothing => self.pending_names.len(),
            Loss::Sectors(_) => random.random_range(0..=self.pending_names.len()),
        };
        self.pending_names[..kept].iter().for_each(|(_, naming)| rename(&mut names, naming));
        let content = |number: usize, random: &mut Xoshiro256PlusPlus| {
            let file = &self.files[number];
            let mut content = file.content.clone();
            for (_, change) in &file.pending {
                match loss {
                    Loss::All => {}
                    Loss::Nothing => apply(&mut content, change),
                    Loss::Sectors(share) => apply_partly(&mut content, change, share, random),
                }
            }
            content
        };
        names.into_iter().map(|(path, number)| (path, content(number, random))).collect()
    }
}

fn rename(names: &mut Names, naming: &Naming) {
    match naming {
        Naming::Add(path, number) => {
            names.insert(path.clone(), *number);
        }
        Naming::Remove(path) => {
            names.remove(path);
        }
        Naming::Rename(from, to) => {
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
    }
}

fn apply(content: &mut Vec<u8>, change: &Change<'_>) {
    match change {
        Change::Write { offset, bytes } => write(content, *offset, bytes),
        Change::Truncate { length } => content.resize(*length, 0),
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// Applies a change sector by sector, each with this probability.
fn apply_partly(content: &mut Vec<u8>, change: &Change<'_>, share: f64, random: &mut Xoshiro256PlusPlus) {
    match change {
        Change::Write { offset, bytes } => {
            let mut at = 0;
            while at < bytes.len() {
                // Up to the end of the sector that it is in.
                let length = (SECTOR - (offset + at) % SECTOR).min(bytes.len() - at);
                if random.random_bool(share) {
                    write(content, offset + at, &bytes[at..at + length]);
                }
                at += length;
            }
        }
        Change::Truncate { .. } => {
            if random.random_bool(share) {
                apply(content, change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const PATH: &str = "/data/x";

    fn disk(operations: &[Operation<'static>]) -> Disk<'static> {
        let mut disk = Disk::default();
        operations.iter().for_each(|operation| disk.apply(operation));
        disk
    }

    fn image(disk: &Disk<'_>, loss: Loss) -> Option<Vec<u8>> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        disk.after_power_loss(loss, &mut random).remove(Path::new(PATH))
    }

    fn created() -> [Operation<'static>; 2] {
        [
            Operation::Created { file: 1, path: PATH.into() },
            Operation::FolderSynced { path: "/data".into(), begun: 1 },
        ]
    }

    #[test]
    fn what_was_synced_is_there_and_what_came_later_is_lost() {
        let [created, named] = created();
        let disk = disk(&[
            created,
            named,
            Operation::Written { file: 1, offset: 0, bytes: b"synced" },
            Operation::Synced { file: 1, begun: 3 },
            Operation::Written { file: 1, offset: 0, bytes: b"later!" },
        ]);
        assert_eq!(image(&disk, Loss::All).unwrap(), b"synced");
        assert_eq!(image(&disk, Loss::Nothing).unwrap(), b"later!");
    }

    #[test]
    fn a_sync_covers_only_what_was_written_before_it_began() {
        let [created, named] = created();
        let disk = disk(&[
            created,
            named,
            Operation::Written { file: 1, offset: 0, bytes: b"a" },
            Operation::Written { file: 1, offset: 1, bytes: b"b" },
            Operation::Synced { file: 1, begun: 3 },
        ]);
        assert_eq!(image(&disk, Loss::All).unwrap(), b"a");
    }

    #[test]
    fn a_file_without_a_synced_name_is_gone() {
        let [created, _] = created();
        let disk = disk(&[
            created,
            Operation::Written { file: 1, offset: 0, bytes: b"a" },
            Operation::Synced { file: 1, begun: 2 },
        ]);
        assert_eq!(image(&disk, Loss::All), None);
        assert_eq!(image(&disk, Loss::Nothing).unwrap(), b"a");
    }

    #[test]
    fn a_removed_file_comes_back_until_its_folder_is_synced() {
        let [created, named] = created();
        let unlinked = Operation::Unlinked { path: PATH.into() };
        let mut disk = disk(&[created, named, unlinked]);
        assert_eq!(image(&disk, Loss::All).unwrap(), b"");
        disk.apply(&Operation::FolderSynced { path: "/data".into(), begun: 3 });
        assert_eq!(image(&disk, Loss::All), None);
    }

    #[test]
    fn a_write_is_torn_between_sectors_and_a_lying_disk_keeps_nothing() {
        let [created, named] = created();
        let bytes: &'static [u8] = &[1; 64 * SECTOR];
        let written = Operation::Written { file: 1, offset: 0, bytes };
        let torn =
            image(&disk(&[created.clone(), named.clone(), written.clone()]), Loss::Sectors(0.5)).unwrap();
        let kept: Vec<bool> =
            torn.chunks(SECTOR).map(|sector| sector.iter().all(|byte| *byte == 1)).collect();
        assert!(kept.contains(&true) && kept.contains(&false), "{kept:?}");

        let mut lying = Disk::lying_from(2);
        for operation in [created, named, written, Operation::Synced { file: 1, begun: 3 }] {
            lying.apply(&operation);
        }
        assert_eq!(image(&lying, Loss::All).unwrap(), b"");
    }
}
