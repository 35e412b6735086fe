// recipes/src/diagnostic.rs
//! What is wrong with a recipe, and where.
//!
//! ```text
//! error: recipe.toml:7:1: unknown key `sumary` in [package]
//!   7 | sumary = "x"
//!     | ^^^^^^
//! hint: did you mean `summary`?
//! ```
//!
//! Lines and columns count from 1, columns in characters. A recipe may come from anyone: what is quoted from it
//! is bounded, and its control characters never reach a terminal.

use std::fmt;
use std::ops::Range;

use crate::text::is_visible;

/// The longest part of a line that is shown, in characters.
const SHOWN_CHARS: usize = 120;

/// The longest message or hint, in characters: names in it may be as long as the file.
const MESSAGE_CHARS: usize = 600;

/// One thing that is wrong with a recipe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// The file, as its reader called it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The bytes of the file that are meant.
    pub span: Range<usize>,
    /// The line as it stands in the file; of a long line the part around the column.
    pub source_line: String,
    /// What is wrong: lower case, no final period.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The characters of `source_line` that are meant.
    marked: Range<usize>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let visible = |text: &str, plain: &[char]| -> String {
            let show = |character: char| {
                if is_visible(character) || plain.contains(&character) { character } else { '\u{fffd}' }
            };
            text.chars().map(show).collect()
        };
        let number = self.line.to_string();
        writeln!(
            formatter,
            "error: {}:{}:{}: {}",
            visible(&self.file, &[]),
            self.line,
            self.column,
            visible(&self.message, &['\n'])
        )?;
        writeln!(formatter, "  {number} | {}", visible(&self.source_line.replace('\t', " "), &[]))?;
        write!(formatter, "  {:1$} | {2:3$}", "", number.len(), "", self.marked.start)?;
        write!(formatter, "{}", "^".repeat(self.marked.len().max(1)))?;
        if let Some(hint) = &self.hint {
            write!(formatter, "\nhint: {}", visible(hint, &['\n']))?;
        }
        Ok(())
    }
}

/// The text of a file, ready to be pointed into.
pub(crate) struct SourceText<'text> {
    file: &'text str,
    text: &'text str,
    line_starts: Vec<usize>,
}

impl<'text> SourceText<'text> {
    /// Finds the lines of `text`.
    pub(crate) fn new(file: &'text str, text: &'text str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_breaks).collect();
        Self { file, text, line_starts }
    }

    /// Returns the text of `span`.
    pub(crate) fn slice(&self, span: Range<usize>) -> &'text str {
        self.text.get(span).unwrap_or_default()
    }

    /// Returns the line that holds a byte, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|&line_start| line_start <= at)
    }

    /// Describes what is wrong at `span`.
    pub(crate) fn diagnostic(&self, span: Range<usize>, message: String, hint: String) -> Diagnostic {
        let start = self.boundary(span.start);
        let end = self.boundary(span.end.max(start));
        let line = self.line(start);
        let line_start = self.line_starts[line - 1];
        let line_end = self.line_starts.get(line).map_or(self.text.len(), |next| next - 1);
        let before = self.text[line_start..start].chars().count();
        let marked = self.text[start..end.clamp(start, line_end.max(start))].trim_end().chars().count().max(1);
        let skipped =
            if before + marked.min(SHOWN_CHARS / 2) > SHOWN_CHARS { before.saturating_sub(SHOWN_CHARS / 4) } else { 0 };
        let whole = self.text[line_start..line_end.max(start)].trim_end_matches('\r');
        Diagnostic {
            file: self.file.to_owned(),
            line,
            column: before + 1,
            span: start..end,
            source_line: whole.chars().skip(skipped).take(SHOWN_CHARS).collect(),
            message: shorten(message),
            hint: Some(hint).filter(|hint| !hint.is_empty()).map(shorten),
            marked: before - skipped..(before - skipped + marked).min(SHOWN_CHARS.max(before - skipped + 1)),
        }
    }

    /// Returns the last place at or before `at` that is inside the text and between two characters.
    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// Cuts a text that is too long to read.
fn shorten(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MESSAGE_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, span: Range<usize>, hint: Option<&str>) -> String {
        SourceText::new("recipe.toml", text)
            .diagnostic(span, "it is wrong".to_owned(), hint.unwrap_or_default().to_owned())
            .to_string()
    }

    #[test]
    fn a_diagnostic_points_at_its_place() {
        let text = "[package]\nname = \"x\"\nsumary = \"é\" # 1\n";
        assert_eq!(
            show(text, 21..27, Some("did you mean `summary`?")),
            "error: recipe.toml:3:1: it is wrong\n  3 | sumary = \"é\" # 1\n    | ^^^^^^\nhint: did you mean `summary`?"
        );
        assert_eq!(
            show(text, 30..34, None),
            "error: recipe.toml:3:10: it is wrong\n  3 | sumary = \"é\" # 1\n    |          ^^^"
        );
        assert_eq!(show(text, 0..0, None), "error: recipe.toml:1:1: it is wrong\n  1 | [package]\n    | ^");
        assert_eq!(show("", 0..0, None), "error: recipe.toml:1:1: it is wrong\n  1 | \n    | ^");
        assert_eq!(show("a\n", 2..2, None), "error: recipe.toml:2:1: it is wrong\n  2 | \n    | ^");
        assert_eq!(show("a\r\nb\r\n", 0..9, None), "error: recipe.toml:1:1: it is wrong\n  1 | a\n    | ^");
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        let shown = show("a = \"\u{1b}[31m\u{202e}\"\tb", 4..9, Some("\u{1b}]0;x"));
        assert_eq!(
            shown.chars().filter(|&character| character.is_control() && character != '\n').count(),
            0,
            "{shown}"
        );
        assert!(!shown.contains('\u{202e}'));
    }

    #[test]
    fn a_long_line_is_shown_around_its_place() {
        let text = format!("{}HERE{}", "x".repeat(5000), "y".repeat(5000));
        let diagnostic = SourceText::new("f", &text).diagnostic(5000..5004, String::new(), String::new());
        assert_eq!((diagnostic.column, diagnostic.source_line.chars().count()), (5001, SHOWN_CHARS));
        let shown = diagnostic.to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1].find("HERE"), lines[2].find("^^^^"));
        let whole = SourceText::new("f", &text).diagnostic(0..10004, String::new(), String::new());
        assert!(whole.to_string().len() < 500);
    }

    #[test]
    fn spans_beyond_the_text_do_not_panic() {
        for span in [0..0, 0..99, 50..99, 1..2, 2..3] {
            assert!(!show("é\nx", span, None).is_empty());
        }
    }
}
