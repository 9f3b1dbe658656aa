//! Where the settings come from: one TOML file and the environment over it. Finds the line of a key,
//! and the files that a value names.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use toml_edit::{Array, ArrayOfTables, ImDocument, Item, Table, TableLike};

use super::environment::{Environment, Override};
use super::key::{Key, Step};
use super::problem::Problem;

/// One config file as it was read, and the environment.
pub(super) struct Source {
    name: String,
    directory: PathBuf,
    document: ImDocument<String>,
    environment: Environment,
    overrides: Vec<Override>,
}

impl Source {
    /// Reads the file once; what comes later is told from the same text.
    ///
    /// # Errors
    /// Class 69 when the file cannot be read, class 64 when it is not TOML.
    pub(super) fn read(path: &Path, environment: &Environment) -> Result<Self, Problem> {
        let bytes = std::fs::read(path).map_err(|error| {
            Problem::unavailable(
                path.display(),
                format_args!("cannot read the config file: {error}"),
            )
        })?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Problem::said(path.display(), "the config file is not UTF-8 text"))?;
        Self::parse(path, text, environment)
    }

    /// Takes `text` as what stands in the file `path`.
    pub(super) fn parse(
        path: &Path,
        text: String,
        environment: &Environment,
    ) -> Result<Self, Problem> {
        let name = path.display().to_string();
        let document = ImDocument::parse(text.clone()).map_err(|error| {
            let line = error.span().map(|span| line_of(&text, span.start));
            let message = error.message().trim().replace('\n', "; ");
            Problem::said(&name, format_args!("not valid TOML: {message}")).at_line(line)
        })?;
        Ok(Self {
            name,
            directory: path.parent().unwrap_or_else(|| Path::new("")).to_owned(),
            document,
            environment: environment.clone(),
            overrides: Vec::new(),
        })
    }

    /// File and environment as one table; what the environment says wrongly is pushed to `problems`.
    pub(super) fn merged(&mut self, problems: &mut Vec<Problem>) -> Result<Dict, Problem> {
        let (overrides, wrong) = self.environment.overrides();
        self.overrides = overrides;
        problems.extend(wrong);
        let file = Figment::from(Toml::string(self.document.raw()));
        let all = self
            .overrides
            .iter()
            .fold(file, |all, one| all.merge(one.provider()));
        all.extract()
            .map_err(|error| Problem::said(&self.name, error.kind))
    }

    /// The environment.
    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// A path of the file, as the process can open it.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// The file of a secret: beside the config file, else in `$CREDENTIALS_DIRECTORY`.
    pub(super) fn credential(&self, name: &Path) -> PathBuf {
        let beside = self.path(name);
        match self.environment.value("CREDENTIALS_DIRECTORY") {
            Some(directory) if !beside.exists() => Path::new(directory).join(name),
            _ => beside,
        }
    }

    /// The first of `$STATE_DIRECTORY`, which systemd gives as absolute paths with colons between.
    pub(super) fn state_directory(&self) -> Option<PathBuf> {
        let first = self
            .environment
            .value("STATE_DIRECTORY")?
            .split(':')
            .next()?;
        Some(PathBuf::from(first)).filter(|path| path.is_absolute())
    }

    /// What the environment says for exactly this key, as plain text.
    pub(super) fn plain(&self, key: &Key) -> Option<Value> {
        self.overrides
            .iter()
            .rev()
            .find(|one| one.key == *key)?
            .plain()
    }

    /// The file and line, or the environment variable, that a key's value comes from.
    pub(super) fn place(&self, key: &Key) -> (&str, Option<usize>) {
        let exactly = |one: &&Override| key.is_within(&one.key);
        // A table that only the environment makes.
        let inside = |one: &&Override| one.key.is_within(key) && !self.has(key);
        let mut latest = self.overrides.iter().rev();
        match latest.find(|one| exactly(one) || inside(one)) {
            Some(one) => (&one.variable, None),
            None => (&self.name, self.line(key)),
        }
    }

    /// Whether the file says anything at a key.
    fn has(&self, key: &Key) -> bool {
        let whole = Node::Table(self.document.as_table());
        let found = key
            .steps()
            .iter()
            .try_fold(whole, |node, step| Some(node.inner(step)?.0));
        found.is_some()
    }

    /// The line of a key, or of the nearest table around it that the file has.
    fn line(&self, key: &Key) -> Option<usize> {
        let mut node = Node::Table(self.document.as_table());
        let mut start = None;
        for step in key.steps() {
            let Some((inner, at)) = node.inner(step) else {
                break;
            };
            start = at.or(start);
            node = inner;
        }
        Some(line_of(self.document.raw(), start?))
    }
}

/// A part of the document that can hold others.
#[derive(Clone, Copy)]
enum Node<'a> {
    Table(&'a dyn TableLike),
    Tables(&'a ArrayOfTables),
    List(&'a Array),
    Leaf,
}

impl<'a> Node<'a> {
    /// What stands one step further in, and the byte where it begins.
    fn inner(self, step: &Step) -> Option<(Self, Option<usize>)> {
        match (self, step) {
            (Self::Table(table), Step::Name(name)) => {
                let (key, item) = table.get_key_value(name)?;
                let header = item.as_table().filter(|table| !table.is_dotted());
                let span = header.and_then(Table::span).or_else(|| key.span());
                Some((Self::of(item), span.map(|span| span.start)))
            }
            (Self::Tables(tables), Step::Index(index)) => {
                let table = tables.get(*index)?;
                Some((Self::Table(table), table.span().map(|span| span.start)))
            }
            (Self::List(list), Step::Index(index)) => {
                let value = list.get(*index)?;
                Some((Self::of_value(value), value.span().map(|span| span.start)))
            }
            _ => None,
        }
    }

    fn of(item: &'a Item) -> Self {
        match item {
            Item::Table(table) => Self::Table(table),
            Item::ArrayOfTables(tables) => Self::Tables(tables),
            Item::Value(value) => Self::of_value(value),
            Item::None => Self::Leaf,
        }
    }

    fn of_value(value: &'a toml_edit::Value) -> Self {
        match value {
            toml_edit::Value::InlineTable(table) => Self::Table(table),
            toml_edit::Value::Array(list) => Self::List(list),
            _ => Self::Leaf,
        }
    }
}

/// The line of a byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, key: &Key) -> Option<usize> {
        let source = Source::parse(Path::new("x"), text.to_owned(), &Environment::default());
        source.unwrap().place(key).1
    }

    #[test]
    fn a_key_is_found_on_its_line_in_every_spelling() {
        let text = "[server]\nhttps = [\n  \"a\",\n  \"b\",\n]\n[[routes]]\npath = \"/\"\n\n\
            [[routes]]\nbranches = [\n  { name = \"a\" },\n  { name = \"b\" },\n]\n";
        let https = Key::of("server").name("https");
        assert_eq!(place(text, &https), Some(2));
        assert_eq!(place(text, &https.index(1)), Some(4));
        let branch = Key::of("routes").index(1).name("branches").index(1);
        assert_eq!(place(text, &branch.name("name")), Some(12));
        assert_eq!(place(text, &branch.name("missing")), Some(12));
        assert_eq!(
            place(text, &Key::of("routes").index(1).name("path")),
            Some(9)
        );
        assert_eq!(place("server.https = []", &https), Some(1));
        assert_eq!(place("", &https), None);
    }
}
