// converters/src/shell/parameters.rs
//! `$name` and all of `${...}`.

use super::budget::Spent;
use super::evaluate::{Evaluator, Stop};
use super::expand::{Mode, leading_name};
use super::fields::{Bit, joined};
use super::parse::Parser;
use super::pattern::Pattern;
use super::quoting::{Escapes, single, unescape};
use super::state::{Value, Variable, weight, weights};

/// What a parameter holds.
pub(super) enum Got {
    One(Option<String>),
    /// All of an array, with its first indices where it has any; `star` joins them in quotes.
    All {
        values: Vec<String>,
        indices: Vec<i64>,
        star: bool,
    },
}

impl Evaluator<'_> {
    /// Expands what stands between `${` and `}`.
    pub(super) fn parameter(&mut self, inner: &str, quoted: bool, out: &mut Vec<Bit>) -> Result<(), Stop> {
        self.budget.step()?;
        let bad = |shell: &Self| Stop::Run(shell.need(format!("${{{inner}}} is not understood")));
        let mut rest = inner;
        if let Some(name) = inner.strip_prefix('#')
            && !name.is_empty()
            && (!b":-=+?%/#".contains(&name.as_bytes()[0]) || name == "#" || name == "?" || name == "-")
        {
            return self.length(name, quoted, out).and_then(|known| if known { Ok(()) } else { Err(bad(self)) });
        }
        let mut indirect = false;
        if let Some(name) = inner.strip_prefix('!')
            && !name.is_empty()
        {
            indirect = true;
            rest = name;
        }
        let name = leading_name(rest);
        if name.is_empty() {
            return Err(bad(self));
        }
        rest = &rest[name.len()..];
        let mut subscript = None;
        if rest.starts_with('[') {
            let end = subscript_end(rest).ok_or_else(|| bad(self))?;
            subscript = Some(rest[1..end].to_owned());
            rest = &rest[end + 1..];
        }
        if indirect {
            if rest == "@" || rest == "*" {
                let mut values: Vec<String> =
                    self.variables.keys().filter(|variable| variable.starts_with(name)).cloned().collect();
                values.sort();
                return self.emit_changed(Got::All { values, indices: Vec::new(), star: rest == "*" }, quoted, out);
            }
            if let Some(all) = subscript.as_deref().filter(|all| *all == "@" || *all == "*")
                && rest.is_empty()
            {
                let values = self.lookup(name)?.map(|variable| variable.value.keys()).unwrap_or_default();
                return self.emit_changed(Got::All { values, indices: Vec::new(), star: all == "*" }, quoted, out);
            }
            if let Some(Variable { reference: true, value: Value::Scalar(target), .. }) = self.variables.get(name)
                && rest.is_empty()
            {
                out.push(if quoted { Bit::Quoted(target.clone()) } else { Bit::Open(target.clone()) });
                return Ok(());
            }
            let Got::One(Some(target)) = self.fetch(name, subscript.as_deref())? else { return Err(bad(self)) };
            let target_name = leading_name(&target).to_owned();
            let behind = &target[target_name.len()..];
            let target_subscript = match behind.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
                Some(text) => Some(text.to_owned()),
                None if behind.is_empty() && !target_name.is_empty() => None,
                None => return Err(bad(self)),
            };
            return self.operate(&target_name, target_subscript.as_deref(), rest, quoted, out);
        }
        self.operate(name, subscript.as_deref(), rest, quoted, out)
    }

    /// `${#name}`; says whether it was understood.
    fn length(&mut self, name: &str, quoted: bool, out: &mut Vec<Bit>) -> Result<bool, Stop> {
        let plain = leading_name(name);
        let rest = &name[plain.len()..];
        let subscript = match rest.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            Some(text) => Some(text),
            None if rest.is_empty() && !plain.is_empty() => None,
            None => return Ok(false),
        };
        if let Some(Variable { value: Value::Unset | Value::Indexed(_), .. }) | None = self.variables.get(plain)
            && let Some(subscript) = subscript.filter(|text| *text != "@" && *text != "*")
            && let index = self.arithmetic(subscript)?
            && index < 0
            && self.element_index(plain, index) < 0
        {
            return Err(Stop::Run(self.need(format!("{name} is before the array's start"))));
        }
        if let (Some(Variable { value: Value::Assoc(_), .. }), Some(subscript)) = (self.variables.get(plain), subscript)
            && self.string(subscript)?.is_empty()
        {
            return Err(Stop::Run(self.need(format!("{name} has an empty subscript"))));
        }
        let length = match self.fetch_set(plain, subscript)? {
            Got::One(text) => text.unwrap_or_default().chars().count(),
            Got::All { values, .. } => values.len(),
        };
        out.push(if quoted { Bit::Quoted(length.to_string()) } else { Bit::Open(length.to_string()) });
        Ok(true)
    }

    /// Reads a parameter that is expected to be set.
    fn fetch_set(&mut self, name: &str, subscript: Option<&str>) -> Result<Got, Stop> {
        let got = self.fetch(name, subscript)?;
        if self.switches.nounset && matches!(got, Got::One(None)) {
            return Err(Stop::Run(self.need(format!("{name} is not set, which ends the shell while `set -u` is on"))));
        }
        Ok(got)
    }

    /// Reads a parameter.
    fn fetch(&mut self, name: &str, subscript: Option<&str>) -> Result<Got, Stop> {
        if let "@" | "*" = name {
            let values = self.positionals()?.to_vec();
            self.budget.copy(weights(&values))?;
            return Ok(Got::All { values, indices: Vec::new(), star: name == "*" });
        }
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            let index: usize = name.parse().unwrap_or(usize::MAX);
            if index == 0 {
                return Err(Stop::Unknown(self.need("$0 is not in the text")));
            }
            let value = self.positionals()?.get(index - 1).cloned();
            self.budget.copy(value.as_deref().map_or(0, weight))?;
            return Ok(Got::One(value));
        }
        match name {
            "#" => return Ok(Got::One(Some(self.positionals()?.len().to_string()))),
            "?" => {
                let status = self.status.ok_or_else(|| Stop::Unknown(self.need("the success of a command")))?;
                return Ok(Got::One(Some(status.to_string())));
            }
            "$" | "!" | "-" => return Err(Stop::Unknown(self.need(format!("${name} is not in the text")))),
            "FUNCNAME" if !self.frames.is_empty() && !self.variables.contains_key("FUNCNAME") => {
                let last = self.frames.last().map(|frame| frame.name.clone());
                match subscript {
                    None | Some("0") => return Ok(Got::One(last)),
                    _ => return Err(Stop::Unknown(self.need("${FUNCNAME[...]} is not in the text"))),
                }
            }
            _ => {}
        }
        let value = self.lookup(name)?.map(|variable| variable.value.clone());
        let all = matches!(subscript, Some("@" | "*"));
        self.budget.copy(match &value {
            Some(value) if all => value.weight(),
            Some(value) => value.first().map_or(0, weight),
            None => 0,
        })?;
        let Some(subscript) = subscript else {
            return Ok(Got::One(value.and_then(|value| value.first().map(str::to_owned))));
        };
        if all {
            let (values, indices) = match &value {
                Some(Value::Indexed(elements)) => {
                    (elements.values().cloned().collect(), elements.keys().copied().collect())
                }
                Some(value) => (value.elements(), Vec::new()),
                None => (Vec::new(), Vec::new()),
            };
            return Ok(Got::All { values, indices, star: subscript == "*" });
        }
        match value {
            Some(Value::Assoc(table)) => {
                let key = self.string(subscript)?;
                Ok(Got::One(table.get(&key).map(str::to_owned)))
            }
            Some(Value::Indexed(elements)) => {
                let index = self.arithmetic(subscript)?;
                let index = self.element_index(name, index);
                Ok(Got::One(elements.get(&index).cloned()))
            }
            Some(Value::Scalar(text)) => {
                let index = self.arithmetic(subscript)?;
                Ok(Got::One((index == 0 || index == -1).then_some(text)))
            }
            _ => {
                self.arithmetic(subscript)?;
                Ok(Got::One(None))
            }
        }
    }

    /// The same for what an operator made.
    fn emit_changed(&mut self, got: Got, quoted: bool, out: &mut Vec<Bit>) -> Result<(), Stop> {
        match got {
            Got::All { values, star: true, .. } if quoted && !values.is_empty() => {
                let joint = self.joint()?;
                if self.in_document && joint != " " && values.len() > 1 {
                    // Bash joins what some operators make with blanks there.
                    return Err(Stop::Unknown(self.need("a list with an operator and other separators in a document")));
                }
                let text = values.join(&joint);
                self.budget.spend(text.len())?;
                if joint.is_empty() && text.is_empty() {
                    out.push(Bit::Solid);
                }
                out.push(if joint.is_empty() { Bit::Quoted(text) } else { Bit::Star(values, text) });
                Ok(())
            }
            got => self.emit(got, quoted, out),
        }
    }

    fn emit(&mut self, got: Got, quoted: bool, out: &mut Vec<Bit>) -> Result<(), Stop> {
        self.has_spread |= quoted && matches!(got, Got::All { star: false, .. });
        match got {
            Got::One(text) => {
                let text = text.unwrap_or_default();
                self.budget.spend(text.len())?;
                out.push(if quoted { Bit::Quoted(text) } else { Bit::Open(text) });
            }
            Got::All { values, star: true, .. } if quoted => {
                let text = values.join(&self.joint()?);
                self.budget.spend(text.len())?;
                if text.is_empty() && !values.is_empty() {
                    out.push(Bit::Solid);
                }
                out.push(Bit::Quoted(text));
            }
            Got::All { values, .. } if quoted && values.is_empty() => out.push(Bit::Nothing),
            Got::All { values, star, .. } => {
                let joint = if star { self.joint()? } else { " ".to_owned() };
                if joint.is_empty() && values.len() > 1 && self.output.is_some() {
                    // On the right side of an assignment bash joins it even within a substitution.
                    return Err(Stop::Unknown(self.need("a list in a substitution where IFS is empty")));
                }
                for (index, text) in values.into_iter().enumerate() {
                    if index > 0 {
                        out.push(Bit::Border(joint.clone()));
                    }
                    self.budget.spend(text.len() + 8)?;
                    if quoted && text.is_empty() {
                        out.push(Bit::Solid);
                    }
                    out.push(if quoted { Bit::Quoted(text) } else { Bit::Open(text) });
                }
            }
        }
        Ok(())
    }

    /// What joins the elements of a list with a star.
    pub(super) fn joint(&self) -> Result<String, Stop> {
        Ok(match self.lookup("IFS")? {
            Some(variable) => {
                variable.value.first().unwrap_or_default().chars().next().map(String::from).unwrap_or_default()
            }
            None => " ".to_owned(),
        })
    }

    /// Applies the operator that stands behind a parameter.
    fn operate(
        &mut self,
        name: &str,
        subscript: Option<&str>,
        operator: &str,
        quoted: bool,
        out: &mut Vec<Bit>,
    ) -> Result<(), Stop> {
        let Some(first) = operator.chars().next() else {
            let got = self.fetch_set(name, subscript)?;
            if quoted && subscript.is_some() && matches!(got, Got::One(Some(_))) {
                out.push(Bit::Solid);
            }
            return self.emit(got, quoted, out);
        };
        let second = operator[first.len_utf8()..].chars().next();
        if let ('-' | '=' | '+' | '?', _) | (':', Some('-' | '=' | '+' | '?')) = (first, second) {
            return self.alternative(name, subscript, operator, quoted, out);
        }
        let got = self.fetch_set(name, subscript)?;
        if !quoted && matches!(got, Got::All { .. }) && self.joint()?.is_empty() {
            // bash joins some of them, and may leave its own mark, a byte 1, among their characters.
            return Err(Stop::Unknown(self.need("a list with an operator where IFS is empty")));
        }
        let solid = quoted
            && operator != "@a"
            && match &got {
                // What had a text of which nothing is left is a word, what had none is not.
                Got::One(Some(text)) if "#%".contains(first) => !text.is_empty() || subscript.is_some(),
                Got::One(Some(_)) => true,
                _ => false,
            };
        let got = match first {
            ':' => self.slice(got, name, &operator[1..])?,
            '#' | '%' => {
                let longest = second == Some(first);
                let pattern = self.pattern(&operator[if longest { 2 } else { 1 }..])?;
                self.each(got, |shell, text| shell.cut(&text, &pattern, first == '#', longest))?
            }
            '/' => {
                let replacement = self.replacement(&operator[1..])?;
                if let Got::One(None) = got {
                    return self.emit(got, quoted, out);
                }
                self.each(got, |shell, text| shell.replace(&text, &replacement))?
            }
            '^' | ',' | '~' => {
                let all = second == Some(first);
                let pattern = &operator[if all { 2 } else { 1 }..];
                let pattern = if pattern.is_empty() { None } else { Some(self.pattern(pattern)?) };
                self.each(got, |shell, text| shell.recase(&text, first, all, pattern.as_ref()))?
            }
            '@' => self.transform(got, name, subscript, &operator[1..])?,
            _ => return Err(Stop::Run(self.need(format!("${{{name}{operator}}} is not understood")))),
        };
        if solid && matches!(got, Got::One(Some(_))) {
            out.push(Bit::Solid);
        }
        self.emit_changed(got, quoted, out)
    }

    fn alternative(
        &mut self,
        name: &str,
        subscript: Option<&str>,
        operator: &str,
        quoted: bool,
        out: &mut Vec<Bit>,
    ) -> Result<(), Stop> {
        let colon = operator.starts_with(':');
        let kind = operator.as_bytes()[usize::from(colon)];
        let word = &operator[usize::from(colon) + 1..];
        let got = self.fetch(name, subscript)?;
        let there = match &got {
            Got::One(text) => text.as_ref().is_some_and(|text| !colon || !text.is_empty()),
            Got::All { values, .. } => {
                !values.is_empty() && (!colon || values.len() > 1 || values.iter().any(|value| !value.is_empty()))
            }
        };
        match (kind, there) {
            (b'+', false) => {
                if quoted {
                    match got {
                        Got::All { star: false, values, .. } => {
                            self.has_spread = true;
                            // One empty element is a word.
                            out.push(if values.is_empty() { Bit::Nothing } else { Bit::Solid });
                        }
                        _ => out.push(Bit::Quoted(String::new())),
                    }
                }
                Ok(())
            }
            (b'-', false) | (b'+', true) => self.alternative_word(word, quoted, out),
            (b'=', false) => {
                if has_list(word) && self.joint()? != " " {
                    // What joins it depends on where the word stands.
                    return Err(Stop::Unknown(self.need("a list with other separators in a default that is assigned")));
                }
                let text = {
                    let mut bits = Vec::new();
                    self.alternative_word(word, quoted, &mut bits)?;
                    joined(&bits)
                };
                match subscript {
                    Some(subscript) => self.assign_element(name, subscript, text.clone(), false)?,
                    None => self.assign_scalar(name, text.clone())?,
                }
                if self.lookup(name)?.is_some_and(|variable| variable.lower || variable.upper || variable.integer) {
                    // What comes out is the text or what the variable made of it, by the version of bash.
                    return Err(Stop::Unknown(self.need("a default assigned to a variable with a kind")));
                }
                if quoted {
                    out.push(Bit::Solid);
                }
                out.push(if quoted { Bit::Quoted(text) } else { Bit::Open(text) });
                Ok(())
            }
            (b'?', false) => {
                Err(Stop::Run(self.need(format!("{name} is not set, and ${{{name}{operator}}} ends the shell"))))
            }
            _ => self.emit(got, quoted, out),
        }
    }

    fn alternative_word(&mut self, word: &str, quoted: bool, out: &mut Vec<Bit>) -> Result<(), Stop> {
        if quoted {
            let before = out.len();
            self.bits(word, Mode::Nested, out)?;
            if out.len() == before {
                out.push(Bit::Quoted(String::new()));
            } else if out[before..].contains(&Bit::Nothing) && out[before..].iter().all(|bit| bit.text().is_empty()) {
                // A list without elements is a word of its own here.
                out.push(Bit::Solid);
            }
            return Ok(());
        }
        if has_list(word) && self.joint()? != " " {
            return Err(Stop::Unknown(self.need("a list with other separators in a default")));
        }
        let mut bits = Vec::new();
        self.bits(word, Mode::Word, &mut bits)?;
        for bit in bits {
            match bit {
                Bit::Bare(text) => out.push(Bit::Open(text)),
                Bit::Quoted(text) if text.is_empty() => out.extend([Bit::Solid, Bit::Quoted(text)]),
                bit => out.push(bit),
            }
        }
        Ok(())
    }

    fn each(
        &mut self,
        got: Got,
        mut change: impl FnMut(&mut Self, String) -> Result<String, Stop>,
    ) -> Result<Got, Stop> {
        Ok(match got {
            Got::One(text) => Got::One(Some(change(self, text.unwrap_or_default())?)),
            Got::All { values, indices, star } => {
                let values = values.into_iter().map(|value| change(self, value)).collect::<Result<_, _>>()?;
                Got::All { values, indices, star }
            }
        })
    }

    fn cut(&mut self, text: &str, pattern: &Pattern, front: bool, longest: bool) -> Result<String, Stop> {
        let chars: Vec<char> = text.chars().collect();
        let budget = &mut self.budget;
        let found = if front {
            pattern.prefix(&chars, longest, budget).map(|found| found.map(|end| &chars[end..]))
        } else {
            pattern.suffix(&chars, longest, budget).map(|found| found.map(|start| &chars[..start]))
        };
        match found {
            Ok(Some(rest)) => Ok(rest.iter().collect()),
            Ok(None) => Ok(text.to_owned()),
            Err(Spent) => Err(self.budget.exhausted("a pattern takes too many steps")),
        }
    }

    fn recase(&mut self, text: &str, kind: char, all: bool, pattern: Option<&Pattern>) -> Result<String, Stop> {
        let mut out = String::new();
        for (index, c) in text.chars().enumerate() {
            let chosen = (all || index == 0)
                && match pattern {
                    Some(pattern) => self.matches(pattern, &[c])?,
                    None => true,
                };
            match kind {
                ',' if chosen => out.extend(c.to_lowercase()),
                '~' if chosen && c.is_uppercase() => out.extend(c.to_lowercase()),
                '^' | '~' if chosen => out.extend(c.to_uppercase()),
                _ => out.push(c),
            }
        }
        Ok(out)
    }

    fn transform(&mut self, got: Got, name: &str, subscript: Option<&str>, kind: &str) -> Result<Got, Stop> {
        let not_understood = |shell: &Self| Stop::Run(shell.need(format!("${{{name}@{kind}}} is not understood")));
        if kind == "a" {
            let text = self.lookup(name)?.map(Variable::attributes).unwrap_or_default();
            return self.each(got, |_, _| Ok(text.clone()));
        }
        if matches!(got, Got::One(None)) {
            return Ok(got);
        }
        if kind == "A" {
            let Got::One(Some(text)) = got else { return Err(not_understood(self)) };
            if subscript.is_some() || self.lookup(name)?.is_some_and(|variable| !variable.attributes().is_empty()) {
                return Err(not_understood(self));
            }
            return Ok(Got::One(Some(format!("{name}={}", single(&text)))));
        }
        let change = match kind {
            "Q" => |text: String| single(&text),
            "U" => |text: String| text.to_uppercase(),
            "L" => |text: String| text.to_lowercase(),
            "u" => |text: String| {
                let mut chars = text.chars();
                chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
            },
            "E" => |text: String| unescape(&text, Escapes::Dollar).0,
            _ => return Err(not_understood(self)),
        };
        self.each(got, |_, text| Ok(change(text)))
    }
}

/// Where the bracket at the start is closed.
/// Whether a word may hold all elements of a list.
pub(super) fn has_list(text: &str) -> bool {
    ["$@", "$*", "${@", "${*", "[@]", "[*]"].iter().any(|list| text.contains(list))
}

fn subscript_end(text: &str) -> Option<usize> {
    let mut parser = Parser::new(text, 1);
    parser.at = 1;
    let mut depth = 1_usize;
    while parser.at < text.len() {
        match parser.peek() {
            Some(b'[') => depth += 1,
            Some(b']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(parser.at);
                }
            }
            _ => {
                parser.skip_one(false).ok()?;
                continue;
            }
        }
        parser.at += 1;
    }
    None
}
