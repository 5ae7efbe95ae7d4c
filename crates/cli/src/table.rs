//! Tables as `kubectl` prints them: columns without borders, so that `awk` and `cut` can read them. Owns widths and colours. Control
//! characters in a value are replaced: a job's text must not steer the terminal.

use unicode_width::UnicodeWidthStr as _;

/// What a cell says about its row, as a colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Busy,
    Warning,
    Bad,
    Faint,
}

/// One value of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }

    #[must_use]
    pub(crate) const fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// The text that is shown: `-` for none, without control characters.
    fn shown(&self) -> String {
        if self.text.is_empty() { "-".to_owned() } else { printable(&self.text) }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// A text on one line: control characters, which could move the cursor or change the title of a terminal, become spaces or `?`.
pub(crate) fn printable(text: &str) -> String {
    let replaced = |char: char| match char {
        '\n' | '\r' | '\t' => ' ',
        char if char.is_control()
            || "\u{202a}\u{202b}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}".contains(char) =>
        {
            '?'
        }
        char => char,
    };
    text.chars().map(replaced).collect()
}

/// A text of several lines, such as a log: the line feeds and tabs stay.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split('\n')
        .map(|line| line.split('\t').map(printable).collect::<Vec<_>>().join("\t"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Rows under titles, aligned.
#[derive(Debug, Default)]
pub(crate) struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(titles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { titles: titles.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines of the table, the titles first if `titled`.
    pub(crate) fn lines(&self, titled: bool, coloured: bool) -> Vec<String> {
        let heads: Vec<Cell> = self.titles.iter().map(|title| Cell::new(title.as_str())).collect();
        let rows: Vec<&Vec<Cell>> = titled.then_some(&heads).into_iter().chain(&self.rows).collect();
        let mut widths = vec![0; self.titles.len()];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row.iter()) {
                *width = (*width).max(cell.shown().width());
            }
        }
        rows.into_iter().map(|row| line(row, &widths, coloured)).collect()
    }
}

fn line(row: &[Cell], widths: &[usize], coloured: bool) -> String {
    let mut line = String::new();
    for (place, (cell, width)) in row.iter().zip(widths).enumerate() {
        let text = cell.shown();
        let gap = (width + 3).saturating_sub(text.width());
        line.push_str(&if coloured { painted(&text, cell.tone) } else { text });
        if place + 1 < row.len() {
            line.push_str(&" ".repeat(gap));
        }
    }
    line
}

fn painted(text: &str, tone: Tone) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Good => 32,
        Tone::Busy => 36,
        Tone::Warning => 33,
        Tone::Bad => 31,
        Tone::Faint => 2,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_display_width() {
        let mut table = Table::new(["NAME", "N"]);
        table.row(vec!["日本".into(), "1".into()]);
        table.row(vec!["a".into(), "".into()]);
        assert_eq!(table.lines(true, false), ["NAME   N", "日本   1", "a      -"]);
        assert_eq!(table.lines(false, false), ["日本   1", "a      -"]);
        let mut table = Table::new(["S"]);
        table.row(vec![Cell::new("ok").tone(Tone::Good)]);
        assert_eq!(table.lines(false, true), ["\u{1b}[32mok\u{1b}[0m"]);
    }

    #[test]
    fn a_value_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}"), "a?[2Jb c?");
        assert_eq!(printable_lines("a\tb\n\u{7}c"), "a\tb\n?c");
    }
}
