//! Who may import whom: the table of `lib.rs`, checked against every `use crate::` in `src`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The last column of the table in `lib.rs`, room by room.
fn table() -> Vec<(String, BTreeSet<String>)> {
    let text = fs::read_to_string("src/lib.rs").expect("lib.rs");
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`"));
    let parse = |row: &str| {
        let (room, rest) = row.split_once('`')?;
        let imports = rest.trim_end_matches([' ', '|']).rsplit_once('|')?.1;
        let words = imports.split([',', ' ']).filter(|word| !word.is_empty());
        Some((room.to_owned(), words.map(str::to_owned).collect()))
    };
    rows.filter_map(parse).collect()
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The rooms that a source names after `crate::`, outside of comments.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let names = code.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned));
    let word = |rest: String| {
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    names.map(word).collect()
}

#[test]
fn rooms_import_only_what_the_table_in_lib_rs_says() {
    let table = table();
    let rooms: BTreeSet<&str> = table.iter().map(|(room, _)| room.as_str()).collect();
    assert!(rooms.len() >= 10, "the table is in lib.rs: {rooms:?}");
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let inside = file
            .strip_prefix("src")
            .expect("a source")
            .with_extension("");
        let room = inside
            .components()
            .next()
            .expect("a room")
            .as_os_str()
            .to_string_lossy();
        if room == "lib" || room == "main" {
            continue;
        }
        let (_, allowed) = table
            .iter()
            .find(|(name, _)| *name == room)
            .unwrap_or_else(|| panic!("{} is of no room in the table", file.display()));
        for import in imports(&fs::read_to_string(&file).expect("a source")) {
            let foreign = rooms.contains(import.as_str()) && import != room;
            if foreign && !allowed.contains(&import) {
                wrong.push(format!("{} imports {import}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
