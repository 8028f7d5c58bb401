//! Snapshot files: written beside, synced, renamed; the newest few kept.
//!
//! A name is `<index>-<term>.snapshot` in decimal, so that a listing sorts by age. What is inside, and its
//! checksums, is the caller's, who goes through [`Snapshots::newest_first`] until one reads.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 1 << 20;
/// Synced in pieces: the log's own syncs wait behind whatever is on its way to the same disk.
const SYNC_BYTES: usize = 2 << 20;
const SUFFIX: &str = ".snapshot";
const UNFINISHED: &str = ".tmp";
/// A peer's, whole, that did not take the place of ours yet.
const RECEIVED: &str = ".received";

/// One finished snapshot file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The last log index it covers, and that entry's term.
    pub index: u64,
    pub term: u64,
    pub path: PathBuf,
    pub bytes: u64,
}

/// The directory of snapshots.
#[derive(Debug)]
pub struct Snapshots {
    dir: PathBuf,
    retain: usize,
}

impl Snapshots {
    /// Opens `dir`, creating it (mode 0700) if absent, and removes unfinished files. `retain` (at least 1)
    /// files are kept.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn open(dir: &Path, retain: usize) -> io::Result<Snapshots> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        for item in fs::read_dir(dir)? {
            let path = item?.path();
            let name = path.to_string_lossy();
            if name.ends_with(UNFINISHED) || name.ends_with(RECEIVED) {
                fs::remove_file(path)?;
            }
        }
        // A process crash may leave a rename that is not durable yet, and the log is purged on its strength.
        File::open(dir)?.sync_all()?;
        Ok(Snapshots { dir: dir.to_path_buf(), retain: retain.max(1) })
    }

    /// Writes a snapshot and removes those beyond `retain`. One at a time; it is durable when this returns.
    ///
    /// # Errors
    /// What `write` or the disk says. Nothing is left behind then, and older snapshots are intact.
    pub fn save(
        &self,
        index: u64,
        term: u64,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<SnapshotFile> {
        let path = self.path(index, term, SUFFIX);
        let unfinished = self.path(index, term, UNFINISHED);
        let bytes =
            match fill(&unfinished, write).and_then(|bytes| fs::rename(&unfinished, &path).map(|()| bytes)) {
                Ok(bytes) => bytes,
                Err(error) => {
                    // Its room may be what is missing; a failure here is of no further interest.
                    let _ = fs::remove_file(&unfinished);
                    return Err(error);
                }
            };
        File::open(&self.dir)?.sync_all()?;
        for old in self.newest_first()?.into_iter().skip(self.retain) {
            fs::remove_file(old.path)?;
        }
        Ok(SnapshotFile { index, term, path, bytes })
    }

    fn path(&self, index: u64, term: u64, suffix: &str) -> PathBuf {
        self.dir.join(format!("{index:020}-{term:020}{suffix}"))
    }

    /// A place for a snapshot that somebody sends. The bytes of one that was never finished are dropped.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn begin_receive(&self, index: u64, term: u64) -> io::Result<Receiving> {
        // Two senders of the same one may overlap for a moment: each writes its own file.
        let unfinished = self.path(index, term, &format!(".{:016x}{UNFINISHED}", crate::random_u64()));
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let out = BufWriter::with_capacity(BUFFER_BYTES, Synced { file, unsynced_bytes: 0 });
        let (path, out) = (self.path(index, term, RECEIVED), Some(out));
        Ok(Receiving { dir: self.dir.clone(), unfinished, path, out })
    }

    /// Makes a received one the newest; it is durable when this returns. Older ones go: the log does not lead
    /// on from them.
    ///
    /// # Errors
    /// If the system refuses, or there is no such one.
    pub fn accept(&self, index: u64, term: u64) -> io::Result<SnapshotFile> {
        let path = self.path(index, term, SUFFIX);
        fs::rename(self.path(index, term, RECEIVED), &path)?;
        File::open(&self.dir)?.sync_all()?;
        let bytes = fs::metadata(&path)?.len();
        Ok(SnapshotFile { index, term, path, bytes })
    }

    /// Forgets a received one.
    pub fn discard(&self, index: u64, term: u64) {
        // It goes with the next start otherwise.
        let _ = fs::remove_file(self.path(index, term, RECEIVED));
    }

    /// The finished snapshots, newest first.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn newest_first(&self) -> io::Result<Vec<SnapshotFile>> {
        let mut found = Vec::new();
        for item in fs::read_dir(&self.dir)? {
            let item = item?;
            if let Some((index, term)) = item.file_name().to_str().and_then(position) {
                found.push(SnapshotFile { index, term, path: item.path(), bytes: item.metadata()?.len() });
            }
        }
        found.sort_by_key(|file| std::cmp::Reverse((file.index, file.term)));
        Ok(found)
    }
}

impl SnapshotFile {
    /// Opens it for reading.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn open(&self) -> io::Result<impl Read + Send + use<>> {
        Ok(io::BufReader::with_capacity(BUFFER_BYTES, File::open(&self.path)?))
    }
}

/// A snapshot that arrives; removed if it is dropped unfinished.
#[derive(Debug)]
pub struct Receiving {
    dir: PathBuf,
    unfinished: PathBuf,
    path: PathBuf,
    out: Option<BufWriter<Synced>>,
}

impl Receiving {
    /// All bytes are there: syncs them, has them checked, and keeps them beside the finished ones.
    ///
    /// # Errors
    /// What the disk or `check` says; nothing is kept then.
    pub fn finish(mut self, check: impl FnOnce(&mut dyn Read) -> io::Result<()>) -> io::Result<()> {
        let Some(out) = self.out.take() else { return Ok(()) };
        let Synced { file, .. } = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        check(&mut io::BufReader::with_capacity(BUFFER_BYTES, File::open(&self.unfinished)?))?;
        fs::rename(&self.unfinished, &self.path)?;
        File::open(&self.dir)?.sync_all()
    }
}

impl Write for Receiving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.as_mut().map_or(Ok(0), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        // Gone already if it was finished.
        let _ = fs::remove_file(&self.unfinished);
    }
}

fn fill(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut buffered = BufWriter::with_capacity(BUFFER_BYTES, Synced { file, unsynced_bytes: 0 });
    write(&mut buffered)?;
    let Synced { file, .. } = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

/// A file that never leaves much to its last sync.
#[derive(Debug)]
struct Synced {
    file: File,
    unsynced_bytes: usize,
}

impl Write for Synced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced_bytes += written;
        if self.unsynced_bytes >= SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced_bytes = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn position(name: &str) -> Option<(u64, u64)> {
    let (index, term) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((index.parse().ok()?, term.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    fn text(file: &SnapshotFile) -> String {
        let mut text = String::new();
        file.open().expect("opens").read_to_string(&mut text).expect("reads");
        text
    }

    fn save(snapshots: &Snapshots, index: u64, text: &str) {
        snapshots.save(index, 2, |out| out.write_all(text.as_bytes())).expect("saves");
    }

    #[test]
    fn the_newest_comes_first_and_old_ones_go() {
        let dir = temporary();
        let snapshots = Snapshots::open(dir.path(), 2).expect("opens");
        assert_eq!(snapshots.newest_first().expect("lists"), []);
        for index in [9, 10, 100] {
            save(&snapshots, index, &format!("good {index}"));
        }
        let kept = snapshots.newest_first().expect("lists");
        assert_eq!(kept.iter().map(|file| file.index).collect::<Vec<_>>(), [100, 10]);
        assert_eq!((kept[0].index, kept[0].term, kept[0].bytes, &*text(&kept[0])), (100, 2, 8, "good 100"));
        assert_eq!(text(&kept[1]), "good 10", "what there is when the newest does not read");
    }

    #[test]
    fn a_received_one_counts_only_once_it_is_accepted() {
        let dir = temporary();
        let snapshots = Snapshots::open(dir.path(), 2).expect("opens");
        save(&snapshots, 1, "good");
        let receive = |index, text: &str| {
            let mut sink = snapshots.begin_receive(index, 3).expect("begins");
            sink.write_all(text.as_bytes()).expect("writes");
            sink.finish(|content| text_of(content).map(drop))
        };
        fn text_of(content: &mut dyn Read) -> io::Result<String> {
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            if text == "good" { Ok(text) } else { Err(io::Error::other("bad")) }
        }
        assert!(receive(7, "bad").is_err());
        receive(8, "good").expect("keeps");
        receive(9, "good").expect("keeps");
        assert_eq!(snapshots.newest_first().expect("lists").len(), 1);
        assert_eq!(snapshots.accept(8, 3).expect("accepts").index, 8);
        assert_eq!(snapshots.newest_first().expect("lists")[0].index, 8);
        snapshots.discard(9, 3);
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 2);
    }

    #[test]
    fn an_unfinished_one_leaves_no_trace() {
        let dir = temporary();
        let snapshots = Snapshots::open(dir.path(), 1).expect("opens");
        save(&snapshots, 1, "good");
        let failing = snapshots.save(2, 2, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(failing.expect_err("refused").to_string(), "no more");
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 1);
        fs::write(dir.path().join("7-1.tmp"), "left by a crash").expect("writes");
        let snapshots = Snapshots::open(dir.path(), 1).expect("opens");
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 1);
        assert_eq!(snapshots.newest_first().expect("lists").len(), 1);
    }
}
