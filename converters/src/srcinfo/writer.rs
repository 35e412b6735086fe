// converters/src/srcinfo/writer.rs
//! Writes the text of a recipe, line by line.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A recipe that is being written.
#[derive(Default)]
pub(super) struct Writer {
    text: String,
    lines: usize,
    /// Lines, from 1, whose source nothing pins yet.
    pub(super) unpinned: BTreeSet<usize>,
}

impl Writer {
    /// Writes one line as it is.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines += 1;
    }

    /// Begins a section.
    pub(super) fn section(&mut self, header: &str) {
        if self.lines > 0 {
            self.line("");
        }
        self.line(header);
    }

    /// Writes a text.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.line(&format!("{key} = {}", quoted(value)));
    }

    /// Writes what is TOML already.
    pub(super) fn raw(&mut self, key: &str, value: &str) {
        self.line(&format!("{key} = {value}"));
    }

    /// Writes a list that is not empty, on one line or on one for each element.
    pub(super) fn list(&mut self, key: &str, values: &[String]) {
        let quoted: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        let short = format!("{key} = [{}]", quoted.join(", "));
        if values.is_empty() {
        } else if short.len() <= 100 {
            self.line(&short);
        } else {
            self.line(&format!("{key} = ["));
            for value in quoted {
                self.line(&format!("    {value},"));
            }
            self.line("]");
        }
    }

    /// Writes a step over several lines, as it is.
    pub(super) fn step(&mut self, key: &str, text: &str) {
        let text = text.replace("%(", "%%(");
        let verbatim = !text.contains("'''") && !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
        if !verbatim {
            self.line(&format!("{key} = \"{}\"", escaped(&text.replace("%%(", "%("))));
            return;
        }
        self.line(&format!("{key} = '''"));
        for line in text.lines() {
            self.line(line);
        }
        self.line("'''");
    }

    /// Remembers that the source in the line just written is not pinned.
    pub(super) fn mark_unpinned(&mut self) {
        self.unpinned.insert(self.lines);
    }

    /// The number of the line that is written next.
    pub(super) fn next_line(&self) -> usize {
        self.lines + 1
    }

    /// The same, of all lines from one on.
    pub(super) fn mark_unpinned_from(&mut self, first: usize) {
        self.unpinned.extend(first..=self.lines);
    }

    /// Returns the recipe.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// Returns a text as a TOML string in which no `%(name)s` is meant.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// Returns the inside of [`quoted`].
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.replace("%(", "%%(").chars() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            character if character.is_control() => {
                write!(escaped, "\\u{:04x}", u32::from(character)).expect("because writing to a String cannot fail");
            }
            character => escaped.push(character),
        }
    }
    escaped
}

/// Returns a URL as a TOML string, with `%(version)s` wherever the version stands for itself.
pub(super) fn quoted_url(url: &str, version: &str) -> String {
    let mut written = String::new();
    let mut rest = url;
    let mut copied = 0;
    let stands_alone = |at: usize| {
        let before = url[..at].chars().next_back();
        let after = url[at + version.len()..].chars().next();
        // A `%` before it would make a literal of the reference.
        !before.is_some_and(|before| before.is_ascii_digit() || matches!(before, '.' | '%'))
            && !after.is_some_and(|after| after.is_ascii_digit())
    };
    if !version.contains('.') {
        return quoted(url);
    }
    let mut at = 0;
    while let Some(found) = rest.find(version) {
        at += found;
        if stands_alone(at) {
            written.push_str(&escaped(&url[copied..at]));
            written.push_str("%(version)s");
            copied = at + version.len();
        }
        at += version.len();
        rest = &url[at..];
    }
    written.push_str(&escaped(&url[copied..]));
    format!("\"{written}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_mean_what_they_say() {
        let cases = [
            ("plain", "\"plain\""),
            ("a \"b\" \\c", "\"a \\\"b\\\" \\\\c\""),
            ("%(name)s 100%", "\"%%(name)s 100%\""),
            ("a\tb", "\"a\\u0009b\""),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn versions_are_named_where_they_stand_alone() {
        let cases = [
            ("https://e.example/v1.2/x-1.2.tar.gz", "\"https://e.example/v%(version)s/x-%(version)s.tar.gz\""),
            ("https://e.example/11.2/x-1.23.tar", "\"https://e.example/11.2/x-1.23.tar\""),
            ("https://e.example/%1.2", "\"https://e.example/%1.2\""),
            ("https://e.example/%(1.2", "\"https://e.example/%%(%(version)s\""),
        ];
        for (url, expected) in cases {
            assert_eq!(quoted_url(url, "1.2"), expected);
        }
        assert_eq!(quoted_url("https://e.example/5/x-5.tar", "5"), "\"https://e.example/5/x-5.tar\"");
    }
}
