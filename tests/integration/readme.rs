//! README and docs stay true: their whole configs are valid, the reference names every key and default, and
//! links lead somewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gatherd::config::{self, Environment};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// The opening fence of a block that is a whole config file; parts of one are plain `toml`.
const WHOLE_CONFIG: &str = "```toml config.toml\n";

/// Rows of the reference: a key, and the default that its row shows.
type Rows = BTreeMap<String, Option<Value>>;

/// The pages, the README first, then those of the book in its order.
fn pages() -> Vec<(String, String)> {
    let read =
        |path: &str| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let summary = read("docs/SUMMARY.md");
    let names = summary
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let docs = names.map(|name| format!("docs/{name}"));
    let paths = std::iter::once("README.md".to_owned()).chain(docs);
    paths.map(|path| (path.clone(), read(&path))).collect()
}

/// All of them as one text.
fn readme() -> String {
    let texts: Vec<_> = pages().into_iter().map(|(_, text)| text).collect();
    texts.join("\n")
}

/// The anchors of a page's headings, as forges make them.
fn anchors(text: &str) -> Vec<String> {
    let mut is_code = false;
    let headings = text.lines().filter_map(|line| {
        is_code ^= line.starts_with("```");
        let heading = line.trim_start_matches('#');
        let is_heading = !is_code && heading.starts_with(' ') && heading.len() < line.len();
        is_heading.then(|| heading.trim().to_lowercase())
    });
    let keep = |it: char| it.is_alphanumeric() || it == '-' || it == '_' || it == ' ';
    headings
        .map(|heading| heading.chars().filter(|it| keep(*it)).collect::<String>())
        .map(|heading| heading.replace(' ', "-"))
        .collect()
}

#[test]
fn every_link_of_readme_and_docs_leads_somewhere() {
    let mut links = 0;
    for (page, text) in pages() {
        let directory = Path::new(&page).parent().expect("a page has a directory");
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => Path::new(&page).to_path_buf(),
                path => directory.join(path),
            };
            assert!(target.exists(), "{page}: {link}");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).expect("a page");
                assert!(
                    anchors(&text).iter().any(|it| it == anchor),
                    "{page}: {link}"
                );
            }
        }
    }
    assert!(links > 30, "{links}");
}

#[test]
fn the_readme_is_short_and_the_summary_has_every_page() {
    let readme = fs::read_to_string("README.md").expect("README.md");
    assert!(readme.lines().count() <= 220, "{}", readme.lines().count());
    let pages: Vec<String> = pages().into_iter().map(|(page, _)| page).collect();
    for entry in fs::read_dir("docs").expect("docs") {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name");
        let is_page = name.ends_with(".md") && name != "SUMMARY.md";
        assert!(
            !is_page || pages.contains(&format!("docs/{name}")),
            "{name}"
        );
    }
}

fn whole_configs(readme: &str) -> Vec<&str> {
    let blocks = readme.split(WHOLE_CONFIG).skip(1);
    blocks
        .map(|rest| rest.split_once("```").expect("a block ends").0)
        .collect()
}

/// Makes the file that a line such as `ca = "ca.pem"` or `{ file = "token" }` names.
fn make_file(directory: &Path, line: &str) {
    for key in ["certificate = \"", "key = \"", "ca = \"", "file = \""] {
        if let Some((name, _)) = line.split_once(key).and_then(|it| it.1.split_once('"')) {
            fs::write(directory.join(name), "something").expect("a file");
        }
    }
}

/// The tables of the reference by the heading they stand under.
fn reference(readme: &str) -> BTreeMap<String, Rows> {
    let (_, reference) = readme
        .split_once("\n## Configuration reference\n")
        .expect("the reference");
    let reference = reference.split("\n## ").next().unwrap_or_default();
    let section = |text: &str| {
        let (heading, rest) = text.split_once('\n').expect("a heading is a line");
        let rows = rest.lines().filter_map(row).collect();
        (heading.replace('`', ""), rows)
    };
    reference.split("\n### ").skip(1).map(section).collect()
}

fn row(line: &str) -> Option<(String, Option<Value>)> {
    let (key, rest) = line.strip_prefix("| `")?.split_once('`')?;
    let cell = rest.split('|').nth(1)?.trim();
    let default = cell
        .strip_prefix('`')
        .and_then(|cell| cell.strip_suffix('`'));
    Some((key.to_owned(), default.map(from_toml)))
}

fn from_toml(text: &str) -> Value {
    let table: Map<String, Value> = toml_edit::de::from_str(&format!("value = {text}"))
        .unwrap_or_else(|error| panic!("{text} is no TOML value: {error}"));
    as_floats(&table["value"])
}

/// 50 and 50.0 are the same number to a reader.
fn as_floats(value: &Value) -> Value {
    value.as_f64().map_or_else(|| value.clone(), Value::from)
}

/// The keys and defaults of one definition of the schema.
fn rows_of(schema: &Value, definition: &str) -> Rows {
    let properties = schema["$defs"][definition]["properties"].as_object();
    let properties = properties.unwrap_or_else(|| panic!("{definition} is in the schema"));
    let default = |property: &Value| property.get("default").map(as_floats);
    properties
        .iter()
        .map(|(key, property)| (key.clone(), default(property)))
        .collect()
}

#[test]
fn the_whole_configs_of_the_readme_are_valid() {
    let readme = readme();
    let configs = whole_configs(&readme);
    assert!(configs.len() >= 3, "{}", configs.len());
    for text in configs {
        let directory = TempDir::new().expect("a directory");
        text.lines()
            .for_each(|line| make_file(directory.path(), line));
        let file = directory.path().join("config.toml");
        if let Err(problems) = config::parse(&file, text, &Environment::default()) {
            panic!("{problems}\n{text}");
        }
    }
}

#[test]
fn the_readme_names_what_needs_a_restart() {
    let readme = readme();
    let (_, list) = readme
        .split_once("<!-- needs a restart -->\n")
        .expect("the list");
    let list = list.split("\n\n").next().unwrap_or_default();
    let named: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(named, config::NEED_A_RESTART);
}

#[test]
fn the_first_config_of_the_readme_has_ten_lines() {
    let readme = readme();
    assert_eq!(whole_configs(&readme)[0].lines().count(), 10);
}

#[test]
fn the_reference_names_every_key_of_the_schema_with_its_default_and_no_other() {
    let (schema, mut reference) = (config::schema(), reference(&readme()));
    let sections = [
        ("[server]", "Server"),
        ("[access]", "Access"),
        ("[tls]", "Tls"),
        ("[[tls.sni]]", "Pair"),
        ("[tls.acme]", "Acme"),
        ("[rate_limit]", "RateLimit"),
        ("[rate_limit.shared]", "SharedLimits"),
        ("[admin]", "Admin"),
        ("[log]", "Log"),
        ("[mock]", "Mock"),
        ("[upstreams.NAME]", "Upstream"),
        ("[[routes]]", "Route"),
        ("rate_limit of a route", "RouteRateLimit"),
        ("branches of a route", "Branch"),
        ("cache of a route", "Cache"),
        ("[upstreams.NAME.breaker]", "Breaker"),
    ];
    let whole = schema["properties"].as_object().expect("sections");
    // All but the last four and three inside of others are keys of the whole file.
    assert_eq!(whole.len(), sections.len() - 7, "{whole:?}");
    for (heading, definition) in sections {
        let rows = reference
            .remove(heading)
            .unwrap_or_else(|| panic!("no heading {heading}"));
        assert_eq!(rows, rows_of(&schema, definition), "{heading}");
    }
    assert!(reference.is_empty(), "{reference:?}");
}
