//! How the process before this one ended, where there is a state directory to tell it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files::write_whole;

/// The file in the state directory.
const FILE: &str = "last-stop";

/// Its first word while a process runs.
const RUNNING: &str = "running";

/// The note of this process for the next one; when it is dropped without a reason, there was none.
#[derive(Debug)]
pub struct LastStop {
    file: Option<PathBuf>,
    before: Option<String>,
    reason: &'static str,
}

impl LastStop {
    /// The process runs from now on.
    #[must_use]
    pub fn begin(directory: Option<&Path>) -> Self {
        let file = directory.map(|directory| directory.join(FILE));
        let before = file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        let before = before.map(|before| {
            let before = before.trim_end();
            match before.strip_prefix(RUNNING) {
                Some(since) => format!("killed, or the machine went down; it ran{since}"),
                None => before.to_owned(),
            }
        });
        let note = Self {
            file,
            before,
            reason: "at once, by a second signal or for want of something",
        };
        note.write(&format!("{RUNNING} since {}\n", now()));
        note
    }

    /// How the process before ended, if that is known.
    #[must_use]
    pub fn before(&self) -> Option<&str> {
        self.before.as_deref()
    }

    /// The process ends in good order, for this reason.
    pub fn stops(mut self, reason: &'static str) {
        self.reason = reason;
    }

    /// What cannot be noted costs the note and nothing else.
    fn write(&self, text: &str) {
        if let Some(file) = &self.file
            && let Err(error) = write_whole(file, text.as_bytes())
        {
            tracing::warn!(%error, "the next start will not know how this one ended");
        }
    }
}

impl Drop for LastStop {
    fn drop(&mut self) {
        self.write(&format!("{}, at {}\n", self.reason, now()));
    }
}

fn now() -> impl std::fmt::Display {
    humantime::format_rfc3339_seconds(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_process_knows_how_this_one_ended() {
        let directory = tempfile::tempdir().unwrap();
        let begin = || LastStop::begin(Some(directory.path()));
        let first = begin();
        assert_eq!(first.before(), None);
        first.stops("told to stop");
        let second = begin();
        assert!(second.before().unwrap().starts_with("told to stop, at 20"));
        std::mem::forget(second);
        let third = begin();
        assert!(third.before().unwrap().starts_with("killed"), "{third:?}");
        drop(third);
        assert!(begin().before().unwrap().starts_with("at once"));
    }

    #[test]
    fn without_a_directory_nothing_is_known_and_nothing_fails() {
        let note = LastStop::begin(None);
        assert_eq!(note.before(), None);
        note.stops("told to stop");
        let nowhere = LastStop::begin(Some(Path::new("/nowhere/at/all")));
        assert_eq!(nowhere.before(), None);
    }
}
