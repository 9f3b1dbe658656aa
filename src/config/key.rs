//! Where a value stands in the configuration: `routes[1].branches[0].target`.

use std::fmt;

/// A path of table keys and list positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key(Vec<Step>);

/// One step of a [`Key`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A key of a table.
    Name(String),
    /// A position in a list, from 0.
    Index(usize),
}

impl Key {
    /// A key of the outermost table.
    pub(crate) fn of(section: &str) -> Self {
        Self::default().name(section)
    }

    /// The key `name` of the table that stands here.
    pub(crate) fn name(&self, name: &str) -> Self {
        self.with(Step::Name(name.to_owned()))
    }

    /// The element `index` of the list that stands here.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// One step further.
    pub(crate) fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The table or list this stands in; nothing for the whole file.
    pub(crate) fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    /// From the outermost table inwards.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is `other` or stands inside it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Whether values here are never shown.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.0.as_slice(), [Step::Name(section), Step::Name(table), Step::Name(key), ..]
            if (section == "upstreams" && key == "headers")
                || (section == "rate_limit" && table == "shared" && key == "url"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Name(name) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    if is_bare(name) {
                        f.write_str(name)?;
                    } else {
                        write!(f, "{name:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether TOML takes the key without quotes.
fn is_bare(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_toml_writes_it() {
        let key = Key::of("routes")
            .index(1)
            .name("branches")
            .index(0)
            .name("target");
        assert_eq!(key.to_string(), "routes[1].branches[0].target");
        assert_eq!(
            Key::of("upstreams").name("a b").to_string(),
            "upstreams.\"a b\""
        );
    }

    #[test]
    fn only_header_values_and_the_url_of_redis_are_secret() {
        let upstream = Key::of("upstreams").name("work");
        assert!(upstream.name("headers").name("authorization").is_secret());
        assert!(!upstream.name("url").is_secret());
        let shared = Key::of("rate_limit").name("shared");
        assert!(shared.name("url").is_secret());
        assert!(!shared.name("key_prefix").is_secret());
    }
}
