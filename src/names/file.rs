//! A file that is read again when it has changed.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::spawn_blocking;

/// A change so soon after another may have the same times: the kernel's clock for them ticks every few
/// milliseconds.
const SETTLED: Duration = Duration::from_millis(100);

/// A file, and which version of it was read.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    /// None until it is read, or when the next look cannot tell.
    version: Option<Version>,
    /// A digest of the text that was read.
    text: Option<u64>,
}

/// What tells a version of a file from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// There is no regular file, which is the same as an empty one.
    Missing,
    File {
        device: u64,
        inode: u64,
        length: u64,
        modified: (i64, i64),
        changed: (i64, i64),
    },
}

impl WatchedFile {
    /// One that has not been read yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            version: None,
            text: None,
        }
    }

    /// What it is called.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// It is read again and taken for changed, whatever it holds.
    pub(super) fn forget(&mut self) {
        self.version = None;
        self.text = None;
    }

    /// What `parse` makes of its text, if that is another one since it was read. A file that cannot be
    /// read has not changed; it is tried again at the next look.
    pub(super) async fn changed<T, P>(&mut self, parse: P) -> Option<T>
    where
        T: Send + 'static,
        P: FnOnce(&[u8]) -> T + Send + 'static,
    {
        // One call to the kernel, which takes less than a thread that would make it.
        let found = Version::of(fs::metadata(&self.path)).ok()?;
        if self.version == Some(found) {
            return None;
        }
        let path = self.path.clone();
        let known = self.text;
        let read = spawn_blocking(move || {
            let (version, text) = read(&path)?;
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            let digest = hasher.finish();
            let value = (known != Some(digest)).then(|| parse(&text));
            io::Result::Ok((version, digest, value))
        });
        let (version, digest, value) = read.await.ok()?.ok()?;
        self.version = version;
        self.text = Some(digest);
        value
    }
}

/// The text of the file, and its version once that is settled.
fn read(path: &Path) -> io::Result<(Option<Version>, Vec<u8>)> {
    let version = Version::of(fs::metadata(path))?;
    if version == Version::Missing {
        return Ok((Some(version), Vec::new()));
    }
    // What is written after this shows in the times, which are those from before.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let text = fs::read(path)?;
    let is_settled = now.is_ok_and(|now| version.is_settled(now));
    Ok((is_settled.then_some(version), text))
}

impl Version {
    fn of(found: io::Result<Metadata>) -> io::Result<Self> {
        match found {
            Ok(file) if file.is_file() => Ok(Self::File {
                device: file.dev(),
                inode: file.ino(),
                length: file.len(),
                modified: (file.mtime(), file.mtime_nsec()),
                changed: (file.ctime(), file.ctime_nsec()),
            }),
            Ok(_) => Ok(Self::Missing),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Missing),
            Err(error) => Err(error),
        }
    }

    /// Whether no later change can look like this one, at `now` since 1970.
    fn is_settled(&self, now: Duration) -> bool {
        let Self::File {
            changed: (seconds, nanoseconds),
            ..
        } = *self
        else {
            return true;
        };
        let whole = u64::try_from(seconds).map(Duration::from_secs);
        let part = u64::try_from(nanoseconds).map(Duration::from_nanos);
        match (whole, part) {
            (Ok(whole), Ok(part)) => whole + part + SETTLED < now,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(file: &mut WatchedFile) -> Option<String> {
        let parse = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        file.changed(parse).await
    }

    #[tokio::test]
    async fn every_change_is_seen_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut file = WatchedFile::new(path.clone());
        assert_eq!(text(&mut file).await.as_deref(), Some(""), "there is none");
        assert_eq!(text(&mut file).await, None);
        // Of the same length, and in the same moment.
        for said in ["one", "two", "ten"] {
            fs::write(&path, said).unwrap();
            assert_eq!(text(&mut file).await.as_deref(), Some(said));
            assert_eq!(text(&mut file).await, None);
        }
        let other = directory.path().join("other");
        fs::write(&other, "new").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(text(&mut file).await.as_deref(), Some("new"));
        fs::write(&path, "new").unwrap();
        assert_eq!(text(&mut file).await, None, "it says the same");
        file.forget();
        assert_eq!(text(&mut file).await.as_deref(), Some("new"));
        fs::remove_file(&path).unwrap();
        assert_eq!(text(&mut file).await.as_deref(), Some(""));
    }

    #[tokio::test]
    async fn what_is_no_file_is_an_empty_one_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [pipe, directory.path().to_owned(), "/dev/null".into()] {
            let mut file = WatchedFile::new(path);
            assert_eq!(text(&mut file).await.as_deref(), Some(""));
        }
    }

    #[test]
    fn a_version_is_settled_when_the_clock_for_times_has_ticked() {
        let version = Version::File {
            device: 1,
            inode: 1,
            length: 1,
            modified: (0, 0),
            changed: (1000, 500_000_000),
        };
        let at = |milliseconds| version.is_settled(Duration::from_millis(milliseconds));
        assert!(!at(1_000_499), "in the future");
        assert!(!at(1_000_500));
        assert!(!at(1_000_600));
        assert!(at(1_000_601));
        assert!(Version::Missing.is_settled(Duration::ZERO));
    }
}
