//! Columns that line up: the first to the left, the others to the right.

use super::wrap::COLUMNS;

/// A table with a head; its cells are text. A first cell that would make it too wide has a line of
/// its own.
pub(in crate::telemetry::status) struct Table {
    head: Vec<String>,
    rows: Vec<Row>,
}

enum Row {
    Cells(Vec<String>),
    /// A line of its own below a row.
    Note(String),
}

impl Table {
    /// A table without rows.
    pub(in crate::telemetry::status) fn new(first: &str, others: &[&str]) -> Self {
        let names = [first].into_iter().chain(others.iter().copied());
        Self {
            head: names.map(str::to_owned).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; there is a cell for each column.
    pub(in crate::telemetry::status) fn row<const N: usize>(
        &mut self,
        first: &str,
        others: [String; N],
    ) {
        let cells = [first.to_owned()].into_iter().chain(others);
        self.rows.push(Row::Cells(cells.collect()));
    }

    /// Adds a line to the last row.
    pub(in crate::telemetry::status) fn note(&mut self, text: String) {
        self.rows.push(Row::Note(text));
    }

    /// Whether there are no rows.
    pub(in crate::telemetry::status) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table; every line ends.
    pub(in crate::telemetry::status) fn text(&self) -> String {
        let cells = self.rows.iter().filter_map(|row| match row {
            Row::Cells(cells) => Some(cells),
            Row::Note(_) => None,
        });
        let lines: Vec<&Vec<String>> = [&self.head].into_iter().chain(cells).collect();
        let widest = |column: usize| {
            let widths = lines.iter().filter_map(|line| line.get(column));
            widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.head.len()).map(widest).collect();
        let others: usize = widths.iter().skip(1).map(|width| width + 2).sum();
        if let Some(first) = widths.first_mut() {
            *first = (*first).min(COLUMNS.saturating_sub(others));
        }
        let mut text = aligned(&self.head, &widths);
        for row in &self.rows {
            match row {
                Row::Cells(cells) => text.push_str(&aligned(cells, &widths)),
                Row::Note(note) => text.push_str(&format!("  {note}\n")),
            }
        }
        text
    }
}

fn aligned(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        if column == 0 && cell.chars().count() > width {
            line.push_str(&format!("{cell}\n{:width$}", ""));
        } else if column == 0 {
            line.push_str(&format!("{cell:<width$}"));
        } else {
            line.push_str(&format!("  {cell:>width$}"));
        }
    }
    format!("{}\n", line.trim_end())
}
