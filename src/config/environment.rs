//! The environment as one value, so that nothing else reads it and tests can make one up.
//!
//! It overrides keys of the file: `GATHERD_` and the path joined by `__`. It also holds secrets that
//! the file names.

use std::ffi::OsString;

use figment::providers::Serialized;
use figment::value::{Dict, Value};
use toml_edit::Value as Toml;

use super::key::{Key, Step};
use super::problem::Problem;

const PREFIX: &str = "GATHERD_";

/// Environment variables, taken once.
#[derive(Clone, Debug, Default)]
pub struct Environment(Vec<(OsString, OsString)>);

/// One variable that stands for a key.
#[derive(Debug)]
pub(super) struct Override {
    /// The key it sets.
    pub(super) key: Key,
    /// Its name.
    pub(super) variable: String,
    /// What it says, before it was read as TOML.
    pub(super) text: String,
}

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// What a variable holds; nothing when it is not set or not UTF-8.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key.to_str() == Some(name))?;
        value.to_str()
    }

    /// The variables that stand for keys, by name, and those that try to and cannot.
    pub(super) fn overrides(&self) -> (Vec<Override>, Vec<Problem>) {
        let (mut overrides, mut problems) = (Vec::new(), Vec::new());
        let mut named: Vec<_> = self
            .0
            .iter()
            .filter_map(|(k, v)| Some((k.to_str()?, v)))
            .collect();
        named.sort_unstable();
        for (name, value) in named {
            let Some(path) = name.strip_prefix(PREFIX).filter(|path| path.contains("__")) else {
                continue;
            };
            match read(path, value) {
                Ok((key, text)) => {
                    overrides.push(Override {
                        key,
                        variable: name.to_owned(),
                        text,
                    });
                }
                Err(reason) => problems.push(Problem::said(name, reason)),
            }
        }
        (overrides, problems)
    }
}

/// Any iterator of names and values.
impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

fn read(path: &str, value: &OsString) -> Result<(Key, String), &'static str> {
    let names: Vec<String> = path.split("__").map(str::to_lowercase).collect();
    if names.iter().any(String::is_empty) {
        return Err("the name has an empty part; write GATHERD_SECTION__KEY");
    }
    if names.first().is_some_and(|section| section == "routes") {
        return Err("[[routes]] cannot be set by the environment; write them in the file");
    }
    let text = value.to_str().ok_or("the value is not UTF-8")?;
    let key = names
        .iter()
        .fold(Key::default(), |key, name| key.name(name));
    Ok((key, text.to_owned()))
}

impl Override {
    /// The value as TOML reads it; as a string where it is not TOML.
    pub(super) fn value(&self) -> Value {
        match self.text.trim().parse::<Toml>() {
            Ok(toml) => from_toml(&toml),
            Err(_) => Value::from(self.text.clone()),
        }
    }

    /// The value as plain text, for keys that hold a string that looks like something else; nothing
    /// when it was read as a string in the first place.
    pub(super) fn plain(&self) -> Option<Value> {
        let plain = Value::from(self.text.clone());
        (self.value().as_str().is_none()).then_some(plain)
    }

    /// The provider that figment merges over the file.
    pub(super) fn provider(&self) -> Serialized<Dict> {
        let names = self.key.steps().iter().rev().filter_map(|step| match step {
            Step::Name(name) => Some(name.clone()),
            Step::Index(_) => None,
        });
        let value = names.fold(self.value(), |value, name| {
            Value::from(Dict::from([(name, value)]))
        });
        Serialized::defaults(value.into_dict().unwrap_or_default())
    }
}

fn from_toml(toml: &Toml) -> Value {
    match toml {
        Toml::String(text) => Value::from(text.value().clone()),
        Toml::Integer(number) => Value::from(*number.value()),
        Toml::Float(number) => Value::from(*number.value()),
        Toml::Boolean(truth) => Value::from(*truth.value()),
        Toml::Datetime(time) => Value::from(time.value().to_string()),
        Toml::Array(list) => Value::from(list.iter().map(from_toml).collect::<Vec<_>>()),
        Toml::InlineTable(table) => {
            let pairs = table
                .iter()
                .map(|(name, value)| (name.to_owned(), from_toml(value)));
            Value::from(pairs.collect::<Dict>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let environment: Environment = pairs.iter().copied().collect();
        let (overrides, problems) = environment.overrides();
        let keys = overrides.iter().map(|it| it.key.to_string()).collect();
        (keys, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_name_without_a_double_underscore_is_not_ours() {
        let (keys, problems) = keys(&[("GATHERD_PORT", "tcp://10.0.0.1:80"), ("PATH", "/bin")]);
        assert!(keys.is_empty() && problems.is_empty());
    }

    #[test]
    fn routes_cannot_be_set_by_the_environment() {
        let (keys, problems) = keys(&[("GATHERD_ROUTES__0__PATH", "/x")]);
        assert!(keys.is_empty());
        assert!(problems[0].starts_with("GATHERD_ROUTES__0__PATH: [[routes]] cannot be set"));
    }

    #[test]
    fn values_are_toml_where_they_can_be_and_text_elsewhere() {
        let value = |text: &str| {
            let (key, variable) = (Key::default(), String::new());
            Override {
                key,
                variable,
                text: text.to_owned(),
            }
            .value()
        };
        assert_eq!(value("false").to_bool(), Some(false));
        assert_eq!(value("12").to_i128(), Some(12));
        assert_eq!(value("12s").as_str(), Some("12s"));
        assert_eq!(value("\"12\"").as_str(), Some("12"));
        assert_eq!(
            value("[\"[::1]:1\", \"127.0.0.1:2\"]")
                .into_array()
                .map(|it| it.len()),
            Some(2)
        );
        assert_eq!(value("{\"time\":250}").as_str(), Some("{\"time\":250}"));
    }
}
