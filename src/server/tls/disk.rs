//! Files as TLS reads them: small and whole, told apart by what they hold.

use std::fs::{File, OpenOptions, create_dir_all};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// More than any chain or bundle of authorities takes.
const LARGEST: u64 = 1 << 20;

/// What a file holds, or why that cannot be had.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let explained = |error: io::Error| format!("cannot read the file: {error}");
    // A pipe would be waited for, and has nothing to say a second time.
    let kind = std::fs::metadata(path).map_err(explained)?.file_type();
    if kind.is_dir() {
        return Err("is a directory, and a file is needed".to_owned());
    }
    if !kind.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut content = Vec::new();
    let file = File::open(path).map_err(explained)?;
    file.take(LARGEST + 1)
        .read_to_end(&mut content)
        .map_err(explained)?;
    if content.len() as u64 > LARGEST {
        return Err("is larger than 1 MiB".to_owned());
    }
    Ok(content)
}

/// A number that changes with what files hold.
pub(super) fn fingerprint(contents: &[Result<Vec<u8>, String>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    hasher.finish()
}

/// Writes a file that is not there yet.
pub(super) fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        create_dir_all(directory)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
