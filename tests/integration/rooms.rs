//! What rooms may import: the table of `lib.rs`, checked against every `use crate::` in `src`; and no circles.

use std::collections::{BTreeMap, BTreeSet};
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

/// Rooms in which a file and its parent still import each other.
const WITH_CIRCLES: [&str; 5] = ["app", "config", "names", "server", "telemetry"];

/// The source files as modules, such as `http::answer::body`, without tests.
fn modules() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let module = |file: &PathBuf| {
        let inside = file
            .strip_prefix("src")
            .expect("a source")
            .with_extension("");
        let parts = inside
            .iter()
            .map(|part| part.to_string_lossy().into_owned());
        let name = parts.collect::<Vec<_>>().join("::");
        let text = fs::read_to_string(file).expect("a source");
        let code = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        (name, code.to_owned())
    };
    let is_test = |name: &str| name.split("::").any(|part| part == "tests");
    files
        .iter()
        .map(module)
        .filter(|(name, _)| !is_test(name))
        .collect()
}

/// The paths of a `use`, its braces taken apart.
fn paths(tree: &str) -> Vec<String> {
    let Some((before, rest)) = tree.split_once('{') else {
        return vec![
            tree.split(" as ")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned(),
        ];
    };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut depth, mut part, mut found) = (0, String::new(), Vec::new());
    for letter in inside.chars().chain([',']) {
        match letter {
            ',' if depth == 0 => {
                let part = std::mem::take(&mut part);
                if !part.trim().is_empty() {
                    found.extend(paths(&format!("{before}{}", part.trim())));
                }
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        part.push(letter);
    }
    found
}

/// The modules of the same room that a module imports.
fn imported(module: &str, code: &str, all: &BTreeMap<String, String>) -> BTreeSet<String> {
    let statements = code.split(';').filter_map(|statement| {
        let line = statement.lines().map(str::trim).find(|line| {
            line.starts_with("use ") || (line.starts_with("pub") && line.contains(" use "))
        })?;
        let start = statement.find(line)?;
        let text = statement[start..].split_once("use ")?.1;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    });
    let whole = |path: String| {
        let mut parts: Vec<&str> = path.split("::").map(str::trim).collect();
        let mut base: Vec<&str> = match parts[0] {
            "crate" => Vec::new(),
            "self" | "super" => module.split("::").collect(),
            _ => return None,
        };
        while matches!(parts.first(), Some(&"crate" | &"self" | &"super")) {
            if parts.remove(0) == "super" {
                base.pop();
            }
        }
        base.extend(parts);
        while !base.is_empty() && !all.contains_key(&base.join("::")) {
            base.pop();
        }
        Some(base.join("::"))
    };
    let room = |name: &str| name.split("::").next().unwrap_or_default().to_owned();
    let same_room = |name: &String| room(name) == room(module) && name != module;
    let all_paths = statements.flat_map(|tree| paths(&tree));
    all_paths.filter_map(whole).filter(same_room).collect()
}

#[test]
fn files_of_a_room_import_each_other_in_no_circle() {
    let all = modules();
    let mut left: BTreeMap<&String, BTreeSet<String>> = all
        .iter()
        .map(|(module, code)| (module, imported(module, code, &all)))
        .collect();
    assert!(
        left.values().map(BTreeSet::len).sum::<usize>() > 200,
        "imports are found"
    );
    // What imports nothing that is left is in no circle.
    while let Some(module) = left
        .iter()
        .find(|(_, imports)| imports.iter().all(|import| !left.contains_key(import)))
        .map(|(module, _)| *module)
    {
        left.remove(module);
    }
    let circular = |module: &&&String| {
        let room = module.split("::").next().unwrap_or_default();
        !WITH_CIRCLES.contains(&room)
    };
    let wrong: Vec<_> = left.keys().filter(circular).collect();
    assert!(
        wrong.is_empty(),
        "these are in a circle, or import one: {wrong:?}"
    );
}
