//! A table as lines: its first column to the left, the others to the right where they have heads.

use super::wrap::COLUMNS;
use crate::telemetry::status::figures::plain;
use crate::telemetry::status::table::Table;

/// The table under its title; every line ends. A first cell that would make it too wide has a line of
/// its own.
pub(super) fn drawn(table: &Table) -> String {
    let heads: Vec<String> = table.columns.iter().map(|&head| head.to_owned()).collect();
    let heads = (!heads.is_empty() && !table.rows.is_empty()).then_some(&heads);
    let widths = widths(table, heads);
    let line = |cells: &Vec<String>| aligned(cells, &widths, heads.is_some());
    let mut text = format!("{}\n", plain(&table.title));
    text.extend(heads.map(line));
    for row in &table.rows {
        text.push_str(&line(&row.cells));
        if !row.small.is_empty() {
            text.push_str(&line(&row.small));
        }
        text.extend(row.notes.iter().map(|note| format!("  {}\n", plain(note))));
    }
    text.extend(table.note.iter().map(|note| format!("{}\n", plain(note))));
    text
}

fn widths(table: &Table, heads: Option<&Vec<String>>) -> Vec<usize> {
    let rows = table.rows.iter().flat_map(|row| [&row.cells, &row.small]);
    let lines: Vec<&Vec<String>> = heads.into_iter().chain(rows).collect();
    let columns = lines.iter().map(|line| line.len()).max().unwrap_or(0);
    let widest = |column: usize| {
        let widths = lines.iter().filter_map(|line| line.get(column));
        widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..columns).map(widest).collect();
    let others: usize = widths.iter().skip(1).map(|width| width + 2).sum();
    if heads.is_some()
        && let Some(first) = widths.first_mut()
    {
        *first = (*first).min(COLUMNS.saturating_sub(others));
    }
    widths
}

fn aligned(cells: &[String], widths: &[usize], to_the_right: bool) -> String {
    let mut line = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let cell = plain(cell);
        if column == 0 && cell.chars().count() > width {
            line.push_str(&format!("{cell}\n{:width$}", ""));
        } else if column == 0 {
            line.push_str(&format!("{cell:<width$}"));
        } else if to_the_right {
            line.push_str(&format!("  {cell:>width$}"));
        } else {
            line.push_str(&format!("  {cell}"));
        }
    }
    format!("{}\n", line.trim_end())
}
