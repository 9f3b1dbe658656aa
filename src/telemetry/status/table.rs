//! A table of the status. Text, JSON and page draw tables and know none of the fields behind them.

use serde::Serialize;

use super::model::{Finding, Health};
use super::verdict::CLOSE;

/// One section of the status.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// A word that does not change: the page's element has it as `id`.
    pub name: &'static str,
    /// What it is about.
    pub title: String,
    /// The heads of its columns; none where each row is a name and a value.
    pub columns: Vec<&'static str>,
    /// The rows, in the order to show them.
    pub rows: Vec<Row>,
    /// A sentence below the rows, or instead of them.
    pub note: Option<String>,
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// A text for each column.
    pub cells: Vec<String>,
    /// A second, less important text for each column; empty when there is none.
    pub small: Vec<String>,
    /// Lines below it that concern the whole row.
    pub notes: Vec<String>,
    /// How much is used of what may be, 0 to 1.
    pub used: Option<f64>,
    /// How bad it is, when something was found here.
    pub health: Option<Health>,
}

impl Table {
    /// A table without rows.
    pub(super) fn new(
        name: &'static str,
        title: impl Into<String>,
        columns: &[&'static str],
    ) -> Self {
        Self {
            name,
            title: title.into(),
            columns: columns.to_vec(),
            ..Self::default()
        }
    }

    /// The table with these rows.
    pub(super) fn rows(mut self, rows: impl IntoIterator<Item = Row>) -> Self {
        self.rows = rows.into_iter().collect();
        self
    }
}

impl Row {
    /// A row with a text for each column.
    pub(super) fn new<const N: usize>(cells: [String; N]) -> Self {
        Self {
            cells: cells.into(),
            ..Self::default()
        }
    }

    /// A name and a value.
    pub(super) fn fact(name: &str, value: impl Into<String>) -> Self {
        Self::new([name.to_owned(), value.into()])
    }

    /// The row with a bar that shows how much of what may be there is; a warning when that is close.
    pub(super) fn of(mut self, value: i64, limit: i64) -> Self {
        if limit > 0 {
            let used = (value as f64 / limit as f64).clamp(0.0, 1.0);
            self.used = Some(used);
            self.health = self.health.max((used >= CLOSE).then_some(Health::Warning));
        }
        self
    }

    /// The row, marked when something was found at `place` or at a part of it.
    pub(super) fn at(mut self, findings: &[Finding], place: &str) -> Self {
        let is_here = |finding: &&Finding| {
            let rest = finding.subject.strip_prefix(place);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        let here = findings.iter().filter(is_here);
        self.health = here.map(|finding| finding.health).max().max(self.health);
        self
    }
}
