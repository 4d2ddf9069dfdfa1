//! Tables of text: a header, and columns that line up.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

/// On which side of its column a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table. Columns are as wide as the widest of the cells that are written together, and never get narrower.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align, usize)>,
    rows: Vec<Vec<String>>,
    is_begun: bool,
}

impl Table {
    pub(crate) fn new<const N: usize>(columns: [(&'static str, Align); N]) -> Self {
        let columns = columns.into_iter().map(|(name, align)| (name, align, name.width())).collect();
        Self { columns, rows: Vec::new(), is_begun: false }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell)).into());
    }

    /// Rows that were added and not written yet.
    pub(crate) fn waiting(&self) -> usize {
        self.rows.len()
    }

    /// Writes the header, unless that was done, and the rows that wait.
    pub(crate) fn write_rows(&mut self, out: &mut impl Write) -> io::Result<()> {
        for row in &self.rows {
            for ((_, _, width), cell) in self.columns.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        if !std::mem::replace(&mut self.is_begun, true) {
            let header: Vec<String> = self.columns.iter().map(|(name, ..)| (*name).to_owned()).collect();
            self.write_row(&header, out)?;
        }
        for row in &self.rows {
            self.write_row(row, out)?;
        }
        self.rows.clear();
        Ok(())
    }

    /// Writes a whole table.
    pub(crate) fn write(mut self, out: &mut impl Write) -> io::Result<()> {
        self.write_rows(out)
    }

    fn write_row(&self, row: &[String], out: &mut impl Write) -> io::Result<()> {
        let mut line = String::new();
        for ((_, align, width), cell) in self.columns.iter().zip(row) {
            let space = " ".repeat(width.saturating_sub(cell.width()));
            let (before, after) = match align {
                Align::Left => ("", space.as_str()),
                Align::Right => (space.as_str(), ""),
            };
            line.push_str(before);
            line.push_str(cell);
            line.push_str(after);
            line.push_str("  ");
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// A cell is one line, and must not steer the terminal.
fn printable(cell: &str) -> String {
    if !cell.chars().any(char::is_control) {
        return cell.to_owned();
    }
    cell.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests;
