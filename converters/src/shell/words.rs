// converters/src/shell/words.rs
//! Where a word ends: quotes, substitutions, parentheses of patterns and arrays.

use super::parse::{Parsed, Parser};
use super::syntax::Word;

impl Parser<'_> {
    /// Reads the word at this place; nothing if none begins here.
    pub fn word(&mut self) -> Parsed<Option<Word>> {
        self.word_from(self.at)
    }

    /// Reads on in a word that began at `start`.
    fn word_from(&mut self, start: usize) -> Parsed<Option<Word>> {
        let line = self.line();
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b')' => break,
                b'(' => {
                    let written = &self.text[start..self.at];
                    if written.ends_with('=') && assignment(written).is_some_and(|found| found.value.is_empty()) {
                        let text = without_continuations(written);
                        self.at += 1;
                        let elements = Some(self.elements()?);
                        return Ok(Some(Word { text, line, elements }));
                    }
                    let pattern = self.at > start && b"?*+@!".contains(&self.bytes[self.at - 1]);
                    if !pattern || self.byte(1) == Some(b')') {
                        break;
                    }
                    self.skip_pattern()?;
                }
                b'<' | b'>' => {
                    if self.byte(1) != Some(b'(') {
                        break;
                    }
                    self.at += 1;
                    self.skip_commands()?;
                }
                b'[' if is_name(&self.text[start..self.at]) => self.skip_subscript(),
                _ => self.skip_one(false)?,
            }
        }
        if self.at == start {
            return Ok(None);
        }
        Ok(Some(Word { text: without_continuations(&self.text[start..self.at]), line, elements: None }))
    }

    /// Reads the right side of `=~`, where parentheses and bars belong to the expression.
    pub fn regex_word(&mut self) -> Parsed<Option<Word>> {
        let start = self.at;
        let line = self.line();
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b')' if depth == 0 => break,
                b'(' => {
                    depth += 1;
                    self.at += 1;
                }
                b')' => {
                    depth -= 1;
                    self.at += 1;
                }
                b'&' if depth == 0 && self.byte(1) == Some(b'&') => break,
                b'[' => self.skip_bracket()?,
                _ => self.skip_one(false)?,
            }
        }
        if self.at == start {
            return Ok(None);
        }
        Ok(Some(Word { text: without_continuations(&self.text[start..self.at]), line, elements: None }))
    }

    /// Reads the elements of an array up to its closing parenthesis.
    fn elements(&mut self) -> Parsed<Vec<Word>> {
        let mut elements = Vec::new();
        loop {
            self.skip_newlines()?;
            if self.peek() == Some(b')') {
                self.at += 1;
                return Ok(elements);
            }
            let start = self.at;
            // A subscript may hold blanks.
            if self.peek() == Some(b'[') {
                self.skip_subscript();
            }
            match self.word_from(start)? {
                Some(word) => elements.push(word),
                None => return self.error("an array is not closed, or holds what is no word"),
            }
        }
    }
}

/// An assignment's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assignment<'t> {
    pub name: &'t str,
    pub subscript: Option<&'t str>,
    pub append: bool,
    pub value: &'t str,
}

/// Takes `name=value`, `name+=value` and `name[subscript]=value` apart.
pub(crate) fn assignment(text: &str) -> Option<Assignment<'_>> {
    let length = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let (name, mut rest) = text.split_at(length);
    if !is_name(name) {
        return None;
    }
    let mut subscript = None;
    if rest.starts_with('[') {
        let mut parser = Parser::new(rest, 1);
        parser.skip_subscript();
        if parser.at < 2 {
            return None;
        }
        subscript = Some(&rest[1..parser.at - 1]);
        rest = &rest[parser.at..];
    }
    let (append, value) = match rest.strip_prefix("+=") {
        Some(value) => (true, value),
        None => (false, rest.strip_prefix('=')?),
    };
    Some(Assignment { name, subscript, append, value })
}

/// Whether this can be a variable's name.
pub(crate) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Removes continued lines, as the shell does while it reads: not within single quotes, nor in the commands of a substitution, which
/// are read anew.
fn without_continuations(text: &str) -> String {
    if !text.contains("\\\n") {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut parser = Parser::new(text, 1);
    let (mut from, mut double) = (0, false);
    while let Some(byte) = parser.peek() {
        match byte {
            b'\\' => {
                if parser.byte(1) == Some(b'\n') {
                    out.push_str(&text[from..parser.at]);
                    from = parser.at + 2;
                }
                parser.at += 2;
            }
            b'"' => {
                double = !double;
                parser.at += 1;
            }
            b'\'' if double => parser.at += 1,
            b'$' if parser.byte(1) != Some(b'(') && parser.byte(1) != Some(b'\'') => parser.at += 1,
            b'\'' | b'`' | b'$' => {
                if parser.skip_one(double).is_err() {
                    break;
                }
            }
            _ => parser.at += 1,
        }
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}
