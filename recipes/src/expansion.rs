// recipes/src/expansion.rs
//! `%(name)s` and what it stands for.
//!
//! Built in are `name version release epoch`, which come from `[package]`, and the facts of one cook:
//! `destdir jobs arch target`. Then `[variables]`, which may use built-ins and one another without a cycle, and
//! may give `jobs` another meaning. `%%(` is a literal `%(`. Nothing comes from the environment.
//!
//! A recipe may be hostile: all that expansion makes is counted against one bound, so that variables that
//! double one another end in an error and not in a full memory.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::text::quote;

/// All text that expansion may make for one recipe: eight times the largest recipe.
pub(crate) const EXPANDED_BYTES: usize = 8 << 20;

/// How deep variables may use one another.
const DEPTH: usize = 64;

/// How many known names are compared with an unknown one: a recipe with more is no work of a person.
const CANDIDATES: usize = 500;

/// A variable of this built-in name may be defined: published recipes write `jobs = "$(nproc)"`.
const REDEFINABLE: &str = "jobs";

/// Names that are always known.
pub(crate) const BUILT_IN: [&str; 8] = ["name", "version", "release", "epoch", "destdir", "jobs", "arch", "target"];

/// What is known of one cook only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// How many jobs may run in parallel.
    pub jobs: String,
    /// The architecture that is built for, like `x86_64`.
    pub arch: String,
    /// The target triple, like `x86_64-unknown-linux-gnu`.
    pub target: String,
    /// The directory that collects the output.
    pub destdir: String,
    /// The directory that holds one for each further output with an `install` of its own.
    pub outputs: String,
}

impl Facts {
    /// Facts that stand in for the real ones while a recipe is only being checked.
    pub(crate) fn stand_in() -> Self {
        Self {
            jobs: "1".to_owned(),
            arch: "x86_64".to_owned(),
            target: "x86_64-unknown-linux-gnu".to_owned(),
            destdir: "/dest".to_owned(),
            outputs: "/outputs".to_owned(),
        }
    }
}

/// Why a text cannot be expanded, and which `%(` of it is meant, counting from 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ExpansionError {
    /// No such name.
    Unknown { nth: usize, name: String, nearest: Option<String> },
    /// A `%(` without `)s`.
    Malformed { nth: usize, name: Option<String> },
    /// A variable that uses itself, with the names on the way.
    Cycle { nth: usize, names: Vec<String> },
    /// Variables that use one another too deeply.
    Deep { nth: usize },
    /// More output than a recipe may make.
    Large,
    /// What it uses is wrong itself, and that has been reported where it stands.
    Poisoned,
}

impl ExpansionError {
    /// Returns the place, the message and the hint, or `None` when there is nothing left to say.
    pub(crate) fn explain(&self) -> Option<(Option<usize>, String, String)> {
        Some(match self {
            ExpansionError::Unknown { nth, name, nearest } => {
                let hint = match nearest {
                    Some(nearest) => format!("did you mean `%({nearest})s`?"),
                    None => format!("define it in [variables], or write `%%({name})s` for the text itself"),
                };
                (Some(*nth), format!("unknown variable {}", quote(name)), hint)
            }
            ExpansionError::Malformed { nth, name } => {
                let hint = match name {
                    Some(name) => format!("write `%({name})s`, or `%%(` for the text `%(`"),
                    None => "write `%(name)s`, or `%%(` for the text `%(`".to_owned(),
                };
                (Some(*nth), "`%(` begins no variable".to_owned(), hint)
            }
            ExpansionError::Cycle { nth, names } => {
                let hint = "give one of them a value of its own".to_owned();
                (Some(*nth), format!("variables use one another in a circle: {}", names.join(" -> ")), hint)
            }
            ExpansionError::Deep { nth } => (
                Some(*nth),
                format!("variables use one another more than {DEPTH} deep"),
                "write the value directly".to_owned(),
            ),
            ExpansionError::Large => {
                let message = format!("expansion makes more than {} MiB of text", EXPANDED_BYTES >> 20);
                (None, message, "variables that repeat others grow with every step".to_owned())
            }
            ExpansionError::Poisoned => return None,
        })
    }
}

/// A name, and what is known of its value.
struct Entry<'text> {
    text: &'text str,
    /// Whether the value is made from the text.
    is_text: bool,
    state: State,
}

/// How far a name has got.
enum State {
    Raw,
    Open,
    Done(Result<String, ExpansionError>, usize),
}

/// Knows all names of one recipe.
pub(crate) struct Expander<'text> {
    entries: BTreeMap<&'text str, Entry<'text>>,
    left_bytes: usize,
}

impl<'text> Expander<'text> {
    /// Starts with the facts, which are not expanded themselves.
    pub(crate) fn new(facts: &Facts) -> Self {
        let mut expander = Self { entries: BTreeMap::new(), left_bytes: EXPANDED_BYTES };
        let facts =
            [("jobs", &facts.jobs), ("arch", &facts.arch), ("target", &facts.target), ("destdir", &facts.destdir)];
        for (name, value) in facts {
            expander.set(name, value.clone());
        }
        expander
    }

    /// Whether a variable of this name may be defined.
    pub(crate) fn may_define(name: &str) -> bool {
        name == REDEFINABLE || !BUILT_IN.contains(&name)
    }

    /// Defines a name as a text that may use others.
    pub(crate) fn define(&mut self, name: &'text str, text: &'text str) {
        self.entries.insert(name, Entry { text, is_text: true, state: State::Raw });
    }

    /// Gives a name a value that is not expanded.
    pub(crate) fn set(&mut self, name: &'text str, value: String) {
        self.entries.insert(name, Entry { text: "", is_text: false, state: State::Done(Ok(value), 0) });
    }

    /// Gives a name another value, for all that is expanded from now on; variables that use it are made anew.
    pub(crate) fn replace(&mut self, name: &'text str, value: String) {
        for entry in self.entries.values_mut() {
            if entry.is_text && matches!(entry.state, State::Done(Ok(_), _)) {
                entry.state = State::Raw;
            }
        }
        self.set(name, value);
    }

    /// Makes a name known that has no value, because what should give it is wrong or missing.
    pub(crate) fn poison(&mut self, name: &'text str) {
        self.entries
            .insert(name, Entry { text: "", is_text: false, state: State::Done(Err(ExpansionError::Poisoned), 0) });
    }

    /// Expands the value of a defined name.
    pub(crate) fn value(&mut self, name: &str) -> Result<String, ExpansionError> {
        self.resolve(name, 0, &mut Vec::new()).map(|(value, _)| value)
    }

    /// Expands a text.
    pub(crate) fn expand(&mut self, text: &str) -> Result<String, ExpansionError> {
        self.fill(text, &mut Vec::new()).map(|(value, _)| value)
    }

    /// Returns the value of `name`, used by the `nth` reference of a text, and how deep it goes.
    fn resolve(&mut self, name: &str, nth: usize, path: &mut Vec<String>) -> Result<(String, usize), ExpansionError> {
        if path.len() > DEPTH {
            return Err(ExpansionError::Deep { nth });
        }
        let Some(entry) = self.entries.get_mut(name) else {
            let nearest = nearest(name, self.entries.keys().copied());
            return Err(ExpansionError::Unknown { nth, name: name.to_owned(), nearest });
        };
        match &entry.state {
            State::Done(Ok(value), depth) => return Ok((value.clone(), *depth)),
            State::Done(Err(_), _) => return Err(ExpansionError::Poisoned),
            State::Open => {
                let start = path.iter().position(|open| open == name).unwrap_or(0);
                let names = path[start..].iter().cloned().chain([name.to_owned()]).collect();
                return Err(ExpansionError::Cycle { nth, names });
            }
            State::Raw => {}
        }
        entry.state = State::Open;
        let text = entry.text;
        path.push(name.to_owned());
        let result = self.fill(text, path);
        path.pop();
        let (stored, answer) = match result {
            Ok((value, depth)) if depth < DEPTH => (State::Done(Ok(value.clone()), depth + 1), Ok((value, depth + 1))),
            Ok(_) => (State::Done(Err(ExpansionError::Deep { nth: 0 }), 0), Err(ExpansionError::Deep { nth })),
            Err(error) => (State::Done(Err(error.clone()), 0), Err(error)),
        };
        if let Some(entry) = self.entries.get_mut(name) {
            entry.state = stored;
        }
        answer
    }

    /// Replaces every reference of a text; returns the deepest that was used.
    fn fill(&mut self, text: &str, path: &mut Vec<String>) -> Result<(String, usize), ExpansionError> {
        let mut filled = String::new();
        let mut deepest = 0;
        let mut rest = text;
        let mut nth = 0;
        while let Some(at) = rest.find("%(") {
            let literal = at > 0 && rest.as_bytes()[at - 1] == b'%';
            self.push(&mut filled, &rest[..at - usize::from(literal)])?;
            rest = &rest[at + 2..];
            if literal {
                self.push(&mut filled, "%(")?;
            } else {
                let name = reference(rest, nth)?;
                let (value, depth) = self.resolve(name, nth, path)?;
                self.push(&mut filled, &value)?;
                deepest = deepest.max(depth);
                rest = &rest[name.len() + 2..];
            }
            nth += 1;
        }
        self.push(&mut filled, rest)?;
        Ok((filled, deepest))
    }

    /// Appends to an expanded text, within the bound.
    fn push(&mut self, filled: &mut String, text: &str) -> Result<(), ExpansionError> {
        self.left_bytes = self.left_bytes.checked_sub(text.len()).ok_or(ExpansionError::Large)?;
        filled.push_str(text);
        Ok(())
    }
}

/// Reads the name before the next `)s`.
fn reference(rest: &str, nth: usize) -> Result<&str, ExpansionError> {
    let end = rest.find(|character: char| !is_name_character(character)).unwrap_or(rest.len());
    let name = &rest[..end];
    if !name.is_empty() && rest[end..].starts_with(")s") {
        return Ok(name);
    }
    Err(ExpansionError::Malformed { nth, name: (!name.is_empty()).then(|| name.to_owned()) })
}

/// Whether a variable's name may hold this character.
pub(crate) fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

/// Returns the known name that `name` was probably meant to be.
pub(crate) fn nearest<'known>(name: &str, known: impl Iterator<Item = &'known str>) -> Option<String> {
    if name.len() > 64 {
        return None;
    }
    let known = known.take(CANDIDATES);
    let allowed = (name.chars().count() / 3).max(1);
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// Returns the bytes of `raw`, the spelling of a string in its file, that hold the `nth` reference.
///
/// `None` when the spelling hides it behind escapes.
pub(crate) fn locate(raw: &str, value: &str, nth: usize) -> Option<Range<usize>> {
    if raw.matches("%(").count() != value.matches("%(").count() {
        return None;
    }
    let (start, _) = raw.match_indices("%(").nth(nth)?;
    let inside = &raw[start + 2..];
    let end = inside.find(|character| !is_name_character(character)).unwrap_or(inside.len());
    let tail = if inside[end..].starts_with(")s") { 2 } else { 0 };
    Some(start..start + 2 + end + tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expander<'text>(variables: &[(&'text str, &'text str)]) -> Expander<'text> {
        let mut expander = Expander::new(&Facts::stand_in());
        expander.define("name", "hello");
        expander.define("version", "1.0");
        for (name, text) in variables {
            expander.define(name, text);
        }
        expander
    }

    #[test]
    fn references_are_replaced() {
        let variables = [
            ("base", "%(name)s-%(version)s"),
            ("file", "%(base)s.tar"),
            ("empty", ""),
            ("jobs", "$(nproc)"),
            ("a-b_1", "x"),
        ];
        let cases = [
            ("plain 100% text", "plain 100% text"),
            ("%(name)s", "hello"),
            ("%(file)s", "hello-1.0.tar"),
            ("[%(empty)s]", "[]"),
            ("make -j%(jobs)s", "make -j$(nproc)"),
            ("%(arch)s %(target)s %(destdir)s", "x86_64 x86_64-unknown-linux-gnu /dest"),
            ("%(a-b_1)s%(a-b_1)s", "xx"),
            ("%%(name)s", "%(name)s"),
            ("printf '%%(%Y)T'", "printf '%(%Y)T'"),
            ("%%%(name)s", "%%(name)s"),
            ("%", "%"),
            ("%%", "%%"),
            ("%s %d ${x%(*} %(name)sx", "%s %d ${x%(*} hellox"),
            ("é%(name)sé", "éhelloé"),
        ];
        for (text, expected) in cases {
            let result = expander(&variables).expand(text);
            if text.contains("%(*") {
                assert_eq!(result, Err(ExpansionError::Malformed { nth: 0, name: None }));
            } else {
                assert_eq!(result.as_deref(), Ok(expected), "{text}");
            }
        }
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        let mut expander = Expander::new(&Facts { jobs: "%(name)s".to_owned(), ..Facts::stand_in() });
        assert_eq!(expander.expand("%(jobs)s").as_deref(), Ok("%(name)s"));
        expander.define("a", "%%(jobs)s");
        assert_eq!(expander.expand("%(a)s").as_deref(), Ok("%(jobs)s"));
    }

    #[test]
    fn wrong_references_say_which() {
        let cases = [
            ("%(nane)s", 0, "unknown variable `nane`", "did you mean `%(name)s`?"),
            ("%%( %(prefix)s", 1, "unknown variable `prefix`", "define it in [variables], or write `%%(prefix)s`"),
            ("%(name) %(name)s", 0, "begins no variable", "write `%(name)s`"),
            ("%(name)s %()s", 1, "begins no variable", "write `%(name)s`"),
            ("%(", 0, "begins no variable", "`%%(`"),
            ("%(na me)s", 0, "begins no variable", "write `%(na)s`"),
        ];
        for (text, expected, message, hint) in cases {
            let (nth, said, hinted) = expander(&[]).expand(text).unwrap_err().explain().unwrap();
            assert_eq!(nth, Some(expected), "{text}");
            assert!(said.contains(message), "{text}: {said}");
            assert!(hinted.contains(hint), "{text}: {hinted:?}");
        }
    }

    #[test]
    fn a_cycle_is_named_once() {
        let mut circle = expander(&[("a", "%(b)s"), ("b", "x%(c)s"), ("c", "%(a)s"), ("d", "%(a)s"), ("e", "%(e)s")]);
        let (_, message, _) = circle.value("a").unwrap_err().explain().unwrap();
        assert!(message.ends_with("a -> b -> c -> a"), "{message}");
        assert_eq!(circle.value("d").unwrap_err(), ExpansionError::Poisoned);
        let (_, message, _) = circle.value("e").unwrap_err().explain().unwrap();
        assert!(message.ends_with("e -> e"), "{message}");
    }

    #[test]
    fn growth_is_bounded() {
        let names: Vec<String> = (0..64).map(|at| format!("v{at}")).collect();
        let texts: Vec<String> =
            (0..64).map(|at| if at == 0 { "lol".repeat(10) } else { format!("%(v{})s", at - 1).repeat(10) }).collect();
        let variables: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
        let mut bomb = expander(&variables);
        assert_eq!(bomb.expand("%(v63)s"), Err(ExpansionError::Large));
        let mut wide = expander(&[]);
        let text = "x".repeat(1 << 20);
        let used = (0..20).take_while(|_| wide.expand(&text).is_ok()).count();
        assert_eq!(used, EXPANDED_BYTES >> 20);
    }

    #[test]
    fn depth_is_bounded_in_either_direction() {
        let names: Vec<String> = (0..50_000).map(|at| format!("v{at}")).collect();
        let texts: Vec<String> = (0..50_000).map(|at| format!("%(v{})s", at + 1)).collect();
        let variables: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
        assert!(matches!(expander(&variables).expand("%(v0)s"), Err(ExpansionError::Deep { .. })));
        let mut upwards = expander(&variables[..49_999]);
        upwards.define("v49999", "end");
        let deep = (0..50_000).rev().position(|at| upwards.value(&format!("v{at}")).is_err());
        assert_eq!(deep, Some(DEPTH));
    }

    #[test]
    fn references_are_found_in_their_spelling() {
        assert_eq!(locate("\"a%(b)s%(c)s\"", "a%(b)s%(c)s", 1), Some(7..12));
        assert_eq!(locate("'%(b'", "%(b", 0), Some(1..4));
        assert_eq!(locate("\"\\u0025(b)s\"", "%(b)s", 0), None);
    }
}
