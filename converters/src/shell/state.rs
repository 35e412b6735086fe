// converters/src/shell/state.rs
//! Variables and their values.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::assoc::Assoc;
use super::evaluate::Need;

/// The elements of an array by their index. A copy shares them until one of the two is changed: every `$(...)` has its own variables.
#[derive(Debug, Clone, Default)]
pub struct Elements(Rc<BTreeMap<i64, String>>);

impl Deref for Elements {
    type Target = BTreeMap<i64, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Elements {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Rc::make_mut(&mut self.0)
    }
}

impl FromIterator<(i64, String)> for Elements {
    fn from_iter<I: IntoIterator<Item = (i64, String)>>(elements: I) -> Self {
        Self(Rc::new(elements.into_iter().collect()))
    }
}

impl Elements {
    /// An array of one element, the first.
    pub(crate) fn first_of(text: String) -> Self {
        Self::from_iter([(0, text)])
    }

    /// What is copied when it is changed now, for [`Budget::copy`](super::budget::Budget::copy).
    pub(crate) fn shared(&self) -> usize {
        if Rc::strong_count(&self.0) > 1 { self.values().map(|text| weight(text)).sum() } else { 0 }
    }
}

/// What a copy of a text costs: a long one counts as several elements of an array.
pub(crate) fn weight(text: &str) -> usize {
    1 + text.len() / 64
}

/// What a copy of all these texts costs.
pub(crate) fn weights(texts: &[String]) -> usize {
    texts.iter().map(|text| weight(text)).sum()
}

/// What a variable holds.
#[derive(Debug, Clone)]
pub enum Value {
    /// Declared, without a value.
    Unset,
    /// A text.
    Scalar(String),
    /// An array.
    Indexed(Elements),
    /// A table.
    Assoc(Assoc),
    /// Something that only running would tell.
    Unknown(Need),
}

/// A variable.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "these are bash's attributes")]
pub struct Variable {
    /// Its value.
    pub value: Value,
    pub(crate) readonly: bool,
    pub(crate) integer: bool,
    pub(crate) lower: bool,
    pub(crate) upper: bool,
    pub(crate) exported: bool,
    pub(crate) reference: bool,
}

impl Variable {
    pub(crate) fn new(value: Value) -> Self {
        Self { value, readonly: false, integer: false, lower: false, upper: false, exported: false, reference: false }
    }

    /// Makes an array of what is none yet: its text becomes the first element.
    pub(crate) fn become_array(&mut self) {
        self.value = match std::mem::replace(&mut self.value, Value::Unset) {
            Value::Unset => Value::Indexed(Elements::default()),
            Value::Scalar(text) => Value::Indexed(Elements::first_of(text)),
            value => value,
        };
    }

    /// What `${name@a}` prints.
    #[must_use]
    pub fn attributes(&self) -> String {
        let mut out = String::new();
        match self.value {
            Value::Indexed(_) => out.push('a'),
            Value::Assoc(_) => out.push('A'),
            _ => {}
        }
        let flags = [
            (self.integer, 'i'),
            (self.reference, 'n'),
            (self.readonly, 'r'),
            (self.exported, 'x'),
            (self.lower, 'l'),
            (self.upper, 'u'),
        ];
        out.extend(flags.iter().filter(|(on, _)| *on).map(|(_, flag)| *flag));
        out
    }
}

impl Value {
    /// The text of a scalar, or of an array's first element.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        match self {
            Self::Scalar(text) => Some(text),
            Self::Indexed(elements) => elements.get(&0).map(String::as_str),
            Self::Assoc(table) => table.get("0"),
            Self::Unset | Self::Unknown(_) => None,
        }
    }

    /// All elements, of a scalar its text.
    #[must_use]
    pub fn elements(&self) -> Vec<String> {
        match self {
            Self::Scalar(text) => vec![text.clone()],
            Self::Indexed(elements) => elements.values().cloned().collect(),
            Self::Assoc(table) => table.in_order().into_iter().map(|(_, value)| value.to_owned()).collect(),
            Self::Unset | Self::Unknown(_) => Vec::new(),
        }
    }

    /// What a copy of all elements costs, for [`Budget::copy`](super::budget::Budget::copy).
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Scalar(text) => weight(text),
            Self::Indexed(elements) => elements.values().map(|text| weight(text)).sum(),
            Self::Assoc(table) => table.weight(),
            Self::Unset | Self::Unknown(_) => 0,
        }
    }

    /// The keys or indices of all elements, of a scalar `0`.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        match self {
            Self::Scalar(_) => vec!["0".to_owned()],
            Self::Indexed(elements) => elements.keys().map(ToString::to_string).collect(),
            Self::Assoc(table) => table.in_order().into_iter().map(|(key, _)| key.to_owned()).collect(),
            Self::Unset | Self::Unknown(_) => Vec::new(),
        }
    }
}
