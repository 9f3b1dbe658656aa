//! A value that is never shown: said in the file, kept in another file, or in the environment.

use std::fmt;
use std::io;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::source::Source;

const ALLOWED: &str = "a string, { file = \"name\" } or { env = \"NAME\" }";
/// Stands for the value wherever it could be shown.
const MASK: &str = "********";

/// Where a secret is; the value itself shows in no output.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// In the config file itself.
    Plain(String),
    /// In a file, without the line feed at its end.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
}

/// A secret that is not where it is said to be.
#[derive(Debug)]
pub(super) enum Missing {
    /// The file cannot be read: not there, not ours, or not UTF-8.
    File(PathBuf, io::Error),
    /// The environment variable is not set, or is not UTF-8.
    Env(String),
}

impl Secret {
    /// The value. A relative file name starts at the config file's directory, then at
    /// `$CREDENTIALS_DIRECTORY` (systemd.exec(5), Credentials).
    pub(super) fn reveal(&self, source: &Source) -> Result<String, Missing> {
        match self {
            Self::Plain(value) => Ok(value.clone()),
            Self::Env(name) => {
                let value = source.environment().value(name);
                value
                    .map(str::to_owned)
                    .ok_or_else(|| Missing::Env(name.clone()))
            }
            Self::File(name) => {
                let path = source.credential(name);
                let mut text =
                    std::fs::read_to_string(&path).map_err(|error| Missing::File(path, error))?;
                text.truncate(text.trim_end_matches(['\r', '\n']).len());
                Ok(text)
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str(MASK),
            Self::File(path) => write!(f, "{{ file = {path:?} }}"),
            Self::Env(name) => write!(f, "{{ env = {name:?} }}"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Env(name) => write!(f, "the environment variable {name} is not set"),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (key, value) = match self {
            Self::Plain(_) => return serializer.serialize_str(MASK),
            Self::File(path) => ("file", path.display().to_string()),
            Self::Env(name) => ("env", name.clone()),
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(key, &value)?;
        map.end()
    }
}

/// The table form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    file: Option<PathBuf>,
    env: Option<String>,
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALLOWED)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Secret, E> {
        Ok(Secret::Plain(value.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
        match Elsewhere::deserialize(MapAccessDeserializer::new(map))? {
            Elsewhere {
                file: Some(path),
                env: None,
            } => Ok(Secret::File(path)),
            Elsewhere {
                file: None,
                env: Some(name),
            } => Ok(Secret::Env(name)),
            Elsewhere { .. } => Err(A::Error::custom(format_args!("allowed: {ALLOWED}"))),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let table = |key: &str| {
            json_schema!({
                "type": "object",
                "properties": { key: { "type": "string" } },
                "required": [key],
                "additionalProperties": false,
            })
        };
        json_schema!({
            "description": "A secret: the value, a file that holds it, or an environment variable.",
            "oneOf": [{ "type": "string" }, table("file"), table("env")],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_neither_when_debugged_nor_when_serialized() {
        let secret = Secret::Plain("hush".to_owned());
        assert_eq!(format!("{secret:?}"), MASK);
        assert_eq!(serde_json::to_string(&secret).unwrap(), format!("{MASK:?}"));
        let file = Secret::File("token".into());
        assert_eq!(serde_json::to_string(&file).unwrap(), r#"{"file":"token"}"#);
    }

    #[test]
    fn a_secret_is_a_string_or_a_table_with_one_of_two_keys() {
        let parse = serde_json::from_str::<Secret>;
        assert_eq!(parse(r#""x""#).unwrap(), Secret::Plain("x".to_owned()));
        assert_eq!(
            parse(r#"{"env":"X"}"#).unwrap(),
            Secret::Env("X".to_owned())
        );
        for wrong in ["{}", r#"{"env":"X","file":"y"}"#, "1", r#"{"vault":"x"}"#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
