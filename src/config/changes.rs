//! What is different between two configurations, as a list of keys.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Config;

/// Keys, and sections, that hold from the start of the process to its end.
pub const NEED_A_RESTART: [&str; 10] = [
    "server.https",
    "server.http",
    "server.http_mode",
    "server.worker_threads",
    "server.max_buffered",
    "log.format",
    "log.level",
    "log.file",
    "admin",
    "mock",
];

/// Stands for what a table holds, which has keys of its own.
const TABLE: &str = "{}";

/// The keys that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What holds from now on.
    pub applied: Vec<String>,
    /// What holds only after a restart.
    pub left: Vec<String>,
}

impl Config {
    /// What `newer` says differently. Secrets are compared by what they hold, and not shown.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Changes {
        let (before, after) = (self.leaves(), newer.leaves());
        let differs = |key: &&String| before.get(*key) != after.get(*key);
        let mut keys: Vec<String> = before
            .keys()
            .chain(after.keys())
            .filter(differs)
            .cloned()
            .collect();
        keys.sort_unstable();
        keys.dedup();
        // A table that came or went is one thing, whatever is in it.
        let tables: Vec<String> = keys
            .iter()
            .filter(|key| {
                before
                    .get(*key)
                    .or(after.get(*key))
                    .is_some_and(|it| it == TABLE)
            })
            .filter(|key| before.contains_key(*key) != after.contains_key(*key))
            .cloned()
            .collect();
        keys.retain(|key| !tables.iter().any(|table| is_inside(key, table)));
        let (left, applied) = keys.into_iter().partition(|key| needs_a_restart(key));
        Changes { applied, left }
    }

    /// Every key that is set, with its value as text.
    fn leaves(&self) -> BTreeMap<String, String> {
        let mut leaves = BTreeMap::new();
        let raw = serde_json::to_value(&self.raw).unwrap_or_default();
        flatten(String::new(), &raw, &mut leaves);
        for upstream in &self.settings.upstreams {
            let key = format!("upstreams.{}.headers", upstream.name);
            leaves.retain(|other, _| !other.starts_with(&format!("{key}.")));
            // Never leaves this file.
            leaves.insert(key, format!("{:?}", revealed(&upstream.headers)));
        }
        leaves
    }
}

fn revealed(headers: &[(::http::HeaderName, ::http::HeaderValue)]) -> Vec<(&str, &[u8])> {
    let pairs = headers.iter();
    pairs
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect()
}

fn needs_a_restart(key: &str) -> bool {
    let mut fixed = NEED_A_RESTART.iter();
    fixed.any(|fixed| key == *fixed || is_inside(key, fixed))
}

fn is_inside(key: &str, table: &str) -> bool {
    let rest = key.strip_prefix(table);
    rest.is_some_and(|rest| rest.starts_with(['.', '[']))
}

fn flatten(key: String, value: &Value, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(table) => {
            if !key.is_empty() {
                leaves.insert(key.clone(), TABLE.to_owned());
            }
            for (name, value) in table {
                let dot = if key.is_empty() { "" } else { "." };
                flatten(format!("{key}{dot}{name}"), value, leaves);
            }
        }
        Value::Array(tables) if tables.iter().any(Value::is_object) => {
            for (index, table) in tables.iter().enumerate() {
                // By its name where it has one, so that one more at the top does not change all.
                let name = ["path", "name"].iter().find_map(|name| table.get(name));
                let name = name.map_or_else(|| index.to_string(), Value::to_string);
                flatten(format!("{key}[{name}]"), table, leaves);
            }
        }
        leaf => {
            leaves.insert(key, leaf.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Environment};

    const BEFORE: &str = r#"
[server]
https = ["127.0.0.1:8443"]
[tls]
certificate = "absent/cert.pem"
private_key = "absent/key.pem"
self_signed = true
[upstreams.work]
url = "http://127.0.0.1:1234/"
headers = { x-a = { env = "A" } }
[[routes]]
path = "/x"
policy = "all"
upstream = "work"
"#;

    fn changes(after: &str, secret: &str) -> Changes {
        let read = |text: &str, secret: &str| {
            let environment: Environment = [("A", secret)].into_iter().collect();
            config::parse(Path::new("config.toml"), text, &environment)
        };
        let before = read(BEFORE, "hush").unwrap();
        before.changes(&read(after, secret).unwrap())
    }

    #[test]
    fn nothing_is_different_from_itself() {
        assert_eq!(changes(BEFORE, "hush"), Changes::default());
    }

    #[test]
    fn each_key_that_differs_is_named_where_it_belongs() {
        let route = "[[routes]]\npath = \"/y\"\npolicy = \"first\"\nupstream = \"work\"\n";
        let after = BEFORE
            .replace("8443", "9443")
            .replace(
                "[tls]",
                "idle_timeout = \"9s\"\n[log]\nlevel = \"debug\"\naccess = \"off\"\n[tls]",
            )
            .replace("[[routes]]", &format!("{route}[[routes]]"))
            .replace("policy = \"all\"", "policy = \"all\"\ncalls = 3");
        let Changes { applied, left } = changes(&after, "hush");
        assert_eq!(left, ["log.level", "server.https"]);
        let named = |key: &str| applied.iter().any(|applied| applied == key);
        assert!(
            named("server.idle_timeout") && named("log.access"),
            "{applied:?}"
        );
        assert!(
            named("routes[\"/x\"].calls") && named("routes[\"/y\"]"),
            "{applied:?}"
        );
        assert!(!named("routes[\"/x\"].policy"), "{applied:?}");
        assert!(!named("routes[\"/y\"].policy"), "{applied:?}");
    }

    #[test]
    fn a_secret_that_changed_is_named_and_not_shown() {
        let changes = changes(BEFORE, "hush hush");
        assert_eq!(changes.applied, ["upstreams.work.headers"]);
        assert!(changes.left.is_empty());
    }
}
