// recipes/src/reader.rs
//! Reads typed values out of TOML, and collects everything that is wrong on the way.
//!
//! Nothing here knows a key of the format. A getter returns `None` both when a key is absent and when its value is
//! wrong; in the second case the reason has been noted, and reading goes on, so that one run reports all.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, SourceText};
use crate::expansion::{Expander, ExpansionError, Facts, locate};
use crate::{CapabilityError, DigestError, NameError, VersionError};

/// How many diagnostics are worth reading.
pub(crate) const DIAGNOSTICS: usize = 100;

/// An error that knows a way out.
pub(crate) trait Advice: fmt::Display {
    /// Returns what to write instead.
    fn advice(&self) -> String;
}

macro_rules! advice_is_hint {
    ($($error:ty),*) => {
        $(impl Advice for $error {
            fn advice(&self) -> String {
                self.hint().unwrap_or_default()
            }
        })*
    };
}
advice_is_hint!(CapabilityError, DigestError, NameError, VersionError);

/// A key of the file.
pub(crate) type Key<'t> = Spanned<Cow<'t, str>>;

/// A table of the file.
#[derive(Clone)]
pub(crate) struct Section<'t> {
    /// How it is called in messages: `package`, `source.additional[0]`.
    pub(crate) title: String,
    pub(crate) table: &'t DeTable<'t>,
    pub(crate) span: Range<usize>,
}

impl<'t> Section<'t> {
    /// Whether the key is there, sound or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Returns the value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    /// Returns where a key stands, or the section when it does not.
    pub(crate) fn key_span(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or_else(|| self.span.clone(), |(key, _)| key.span())
    }

    /// Returns keys and values in the order of the file.
    pub(crate) fn in_order(&self) -> Vec<(&'t Key<'t>, &'t Spanned<DeValue<'t>>)> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
    }
}

/// A string of the file.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// As the recipe shall carry it: as written before [`crate::Recipe::expand`], expanded after.
    pub(crate) carried: String,
    /// Expanded, in either state.
    pub(crate) full: String,
    pub(crate) span: Range<usize>,
}

/// Reads one file.
pub(crate) struct Reader<'t> {
    source: &'t SourceText<'t>,
    pub(crate) expander: Expander<'t>,
    expanding: bool,
    incomplete: bool,
    diagnostics: Vec<Diagnostic>,
}

impl<'t> Reader<'t> {
    /// Starts reading; without facts, stand-ins serve to check and text is carried as written. Of a file that is
    /// `incomplete`, because a part of it cannot be read at all, nothing is called missing.
    pub(crate) fn new(source: &'t SourceText<'t>, facts: Option<&Facts>, incomplete: bool) -> Self {
        let expander = Expander::new(facts.unwrap_or(&Facts::stand_in()));
        Self { source, expander, expanding: facts.is_some(), incomplete, diagnostics: Vec::new() }
    }

    /// Ends reading and returns what was wrong, in the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        self.diagnostics.dedup();
        self.diagnostics
    }

    /// Whether so much is wrong that reading on is of no use.
    pub(crate) fn is_full(&self) -> bool {
        self.diagnostics.len() >= DIAGNOSTICS
    }

    /// Notes that something is wrong.
    pub(crate) fn report(&mut self, span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        if !self.is_full() {
            self.diagnostics.push(self.source.diagnostic(span, message.into(), hint.into()));
        }
    }

    /// Notes that something required is absent.
    pub(crate) fn missing(&mut self, span: Range<usize>, message: String, hint: &str) {
        if !self.incomplete {
            self.report(span, message, hint);
        }
    }

    /// Notes that a key cannot stand where it does.
    pub(crate) fn misplaced(&mut self, section: &Section<'t>, keys: &[&str], why: &str, hint: &str) {
        for key in keys {
            if section.has(key) {
                self.report(section.key_span(key), format!("`{key}` {why}"), hint);
            }
        }
    }

    /// Notes that a value has the wrong type.
    fn wrong_type(&mut self, title: &str, value: &Spanned<DeValue<'t>>, wanted: &str, hint: &str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report(value.span(), format!("`{title}` must be {wanted}, found {found}"), hint);
    }

    /// Reads a table below a section.
    pub(crate) fn section(&mut self, parent: &Section<'t>, key: &str) -> Option<Section<'t>> {
        let value = parent.get(key)?;
        let title = below(&parent.title, key);
        if let DeValue::Table(table) = value.get_ref() {
            let span = value.span();
            return Some(Section { title, table, span });
        }
        let hint = format!("write `[{title}]` on a line of its own, and its keys below");
        self.wrong_type(&title, value, "a table", &hint);
        None
    }

    /// Reads a list of tables below a section.
    pub(crate) fn sections(&mut self, parent: &Section<'t>, key: &str) -> Vec<Section<'t>> {
        let Some(value) = parent.get(key) else {
            return Vec::new();
        };
        let title = below(&parent.title, key);
        let hint = format!("write `[[{title}]]` on a line of its own, and its keys below");
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(&title, value, "a list of tables", &hint);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (at, element) in array.iter().enumerate() {
            match element.get_ref() {
                DeValue::Table(table) => {
                    sections.push(Section { title: format!("{title}[{at}]"), table, span: element.span() });
                }
                _ => self.wrong_type(&format!("{title}[{at}]"), element, "a table", &hint),
            }
        }
        sections
    }

    /// Reads a text.
    pub(crate) fn text(&mut self, section: &Section<'t>, key: &str) -> Option<Text> {
        let value = section.get(key)?;
        self.text_of(&below(&section.title, key), value)
    }

    /// Reads the text of a value.
    pub(crate) fn text_of(&mut self, title: &str, value: &'t Spanned<DeValue<'t>>) -> Option<Text> {
        let DeValue::String(written) = value.get_ref() else {
            let plain = self.source.slice(value.span());
            let scalar = !matches!(value.get_ref(), DeValue::Array(_) | DeValue::Table(_));
            let hint = if scalar && plain.len() < 80 {
                format!("put it in quotes: `\"{plain}\"`")
            } else {
                "write one text in quotes".to_owned()
            };
            self.wrong_type(title, value, "text", &hint);
            return None;
        };
        if self.is_full() {
            return None;
        }
        match self.expander.expand(written) {
            Ok(full) => {
                let carried = if self.expanding { full.clone() } else { written.clone().into_owned() };
                Some(Text { carried, full, span: value.span() })
            }
            Err(error) => {
                self.report_expansion(&error, value.span(), written);
                None
            }
        }
    }

    /// Notes why the text at `span`, which reads `written`, does not expand.
    pub(crate) fn report_expansion(&mut self, error: &ExpansionError, span: Range<usize>, written: &str) {
        if let Some((nth, message, hint)) = error.explain() {
            let inner = nth.and_then(|nth| locate(self.source.slice(span.clone()), written, nth));
            let place = inner.map_or(span.clone(), |inner| span.start + inner.start..span.start + inner.end);
            self.report(place, message, hint);
        }
    }

    /// Reads a text that has a type of its own.
    pub(crate) fn parsed<T>(&mut self, section: &Section<'t>, key: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Advice,
    {
        let text = self.text(section, key)?;
        self.parse_text(&text)
    }

    /// Gives a text its type.
    pub(crate) fn parse_text<T>(&mut self, text: &Text) -> Option<T>
    where
        T: FromStr,
        T::Err: Advice,
    {
        match text.full.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(text.span.clone(), error.to_string(), error.advice());
                None
            }
        }
    }

    /// Reads a list of texts.
    pub(crate) fn texts(&mut self, section: &Section<'t>, key: &str) -> Vec<Text> {
        let Some(value) = section.get(key) else {
            return Vec::new();
        };
        let title = below(&section.title, key);
        let DeValue::Array(array) = value.get_ref() else {
            let plain = self.source.slice(value.span());
            let short = matches!(value.get_ref(), DeValue::String(_)) && plain.len() < 80;
            let hint =
                if short { format!("write `[{plain}]`") } else { "write it like `[\"one\", \"two\"]`".to_owned() };
            self.wrong_type(&title, value, "a list of texts", &hint);
            return Vec::new();
        };
        array.iter().filter_map(|element| self.text_of(&title, element)).collect()
    }

    /// Reads a list of texts that have a type of their own.
    pub(crate) fn parsed_list<T>(&mut self, section: &Section<'t>, key: &str) -> Vec<T>
    where
        T: FromStr,
        T::Err: Advice,
    {
        let texts = self.texts(section, key);
        texts.iter().filter_map(|text| self.parse_text(text)).collect()
    }

    /// Reads a whole number between two others.
    pub(crate) fn integer(&mut self, section: &Section<'t>, key: &str, range: Range<u64>) -> Option<u64> {
        let value = section.get(key)?;
        let title = below(&section.title, key);
        let DeValue::Integer(written) = value.get_ref() else {
            let plain = self.source.slice(value.span()).trim_matches(['"', '\'']);
            let hint = match plain.parse::<u64>() {
                Ok(number) => format!("write it without quotes: `{number}`"),
                Err(_) => "write digits alone, without quotes".to_owned(),
            };
            self.wrong_type(&title, value, "a whole number", &hint);
            return None;
        };
        match u64::from_str_radix(written.as_str(), written.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let message = format!("`{title}` must lie between {} and {}", range.start, range.end - 1);
                self.report(value.span(), message, "write a whole number in that range");
                None
            }
        }
    }

    /// Reads `true` or `false`.
    pub(crate) fn boolean(&mut self, section: &Section<'t>, key: &str) -> Option<bool> {
        let value = section.get(key)?;
        if let DeValue::Boolean(value) = value.get_ref() {
            return Some(*value);
        }
        let title = below(&section.title, key);
        let hint = "write `true` or `false`, without quotes";
        self.wrong_type(&title, value, "true or false", hint);
        None
    }
}

/// Returns the title of a key below a section.
pub(crate) fn below(title: &str, key: &str) -> String {
    if title.is_empty() { key.to_owned() } else { format!("{title}.{key}") }
}
