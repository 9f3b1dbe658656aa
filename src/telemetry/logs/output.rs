//! Where lines end: standard error, or a file that can be opened anew.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;

/// The permissions of a file that is made here: for the service and its group to read.
const MODE: u32 = 0o640;
/// How long it waits for a full pipe that another process made non-blocking.
const FULL_PIPE: Duration = Duration::from_millis(10);

/// One place for lines. Writing to it may block, so that it belongs to a thread of its own.
pub(super) struct Output {
    to: Box<dyn Write + Send>,
    path: Option<PathBuf>,
    /// The rest of a line of which a part was written before writing failed.
    begun: Vec<u8>,
}

/// Writing failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// Why.
    pub(super) error: io::Error,
    /// Lines that will not be written.
    pub(super) lost: u64,
}

impl Output {
    /// Standard error, by a descriptor of its own: other output does not wait for this one.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn standard_error() -> io::Result<Self> {
        let own = io::stderr().as_fd().try_clone_to_owned()?;
        Ok(Self::new(File::from(own), None))
    }

    /// The file at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened for writing at its end.
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::new(open(path)?, Some(path.to_owned())))
    }

    pub(super) fn new(to: impl Write + Send + 'static, path: Option<PathBuf>) -> Self {
        Self {
            to: Box::new(to),
            path,
            begun: Vec::new(),
        }
    }

    /// What it is, in words.
    pub(super) fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "standard error".to_owned(),
        }
    }

    /// Opens the file by its name again, since another may have it now. What cannot be opened
    /// changes nothing.
    ///
    /// # Errors
    /// As of [`Output::file`].
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.to = Box::new(open(path)?);
            // Its beginning is in the other file.
            self.begun.clear();
        }
        Ok(())
    }

    /// Writes whole lines; after a failure the rest of the line that was begun comes first.
    ///
    /// # Errors
    /// What the operating system says, and how many lines it costs.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), Failed> {
        let mut begun = std::mem::take(&mut self.begun);
        if let Err((error, written)) = write_all(&mut self.to, &begun) {
            self.begun = begun.split_off(written);
            let lost = count(lines);
            return Err(Failed { error, lost });
        }
        let Err((error, written)) = write_all(&mut self.to, lines) else {
            return Ok(());
        };
        let (before, after) = lines.split_at(written);
        let is_between_lines = before.last().is_none_or(|byte| *byte == b'\n');
        let rest = match after.iter().position(|byte| *byte == b'\n') {
            Some(end) if !is_between_lines => end + 1,
            _ => 0,
        };
        self.begun.extend_from_slice(&after[..rest]);
        let lost = count(&after[rest..]);
        Err(Failed { error, lost })
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Writes all, or says how much was written before the error.
fn write_all(to: &mut impl Write, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::park_timeout(FULL_PIPE);
            }
            Err(error) => return Err((error, written)),
        }
    }
    Ok(())
}

/// Opens a file to write at its end.
///
/// # Errors
/// When it is a directory, or of another user, or cannot be made.
pub(super) fn open(path: &Path) -> io::Result<File> {
    // A pipe that is not read must not hold up the start.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(flags).mode(MODE);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            // Whatever the mask of the process is: it is for files that others were not meant to read.
            file.set_permissions(Permissions::from_mode(MODE))?;
            Ok(file)
        }
        // Or it is a link to a file that is not there yet.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.create(true).open(path)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A disk with room for this many bytes.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Disk {
        fn grow(&self, room: usize) {
            self.0.lock().unwrap().1 += room;
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (text, room) = &mut *self.0.lock().unwrap();
            let fits = bytes.len().min(*room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            text.extend_from_slice(&bytes[..fits]);
            *room -= fits;
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_lines_and_what_it_has_are_whole_lines_again() {
        let disk = Disk::default();
        let mut output = Output::new(disk.clone(), None);
        disk.grow(9);
        let failed = output.write(b"first\nsecond\nthird\nfourth\n").unwrap_err();
        assert_eq!(failed.lost, 2);
        assert_eq!(failed.error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(output.write(b"fifth\n").unwrap_err().lost, 1);
        // Room for a part of what was begun.
        disk.grow(1);
        assert_eq!(output.write(b"sixth\n").unwrap_err().lost, 1);
        disk.grow(100);
        output.write(b"seventh\n").unwrap();
        assert_eq!(disk.text(), "first\nsecond\nseventh\n");
    }

    #[test]
    fn a_failure_between_lines_begins_none() {
        let disk = Disk::default();
        let mut output = Output::new(disk.clone(), None);
        disk.grow(6);
        assert_eq!(output.write(b"first\nsecond\n").unwrap_err().lost, 1);
        disk.grow(100);
        output.write(b"third\n").unwrap();
        assert_eq!(disk.text(), "first\nthird\n");
    }

    #[test]
    fn a_file_is_made_for_the_group_appended_to_and_left_when_it_is_moved_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let mut output = Output::file(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        output.write(b"one\n").unwrap();
        let moved = directory.path().join("access.log.1");
        std::fs::rename(&path, &moved).unwrap();
        output.write(b"two\n").unwrap();
        output.reopen().unwrap();
        output.write(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        // What is there is kept.
        Output::file(&path).unwrap().write(b"four\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\nfour\n");
    }

    #[test]
    fn what_cannot_be_opened_again_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let mut output = Output::file(&path).unwrap();
        let moved = directory.path().join("access.log.1");
        std::fs::rename(&path, &moved).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(output.reopen().is_err());
        output.write(b"one\n").unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\n");
    }
}
