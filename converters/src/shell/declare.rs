// converters/src/shell/declare.rs
//! `declare`, `local`, `export`, `readonly` and `typeset`.

use super::evaluate::{Evaluator, Need, Stop, Substituted};
use super::quoting::single;
use super::state::{Value, Variable};
use super::syntax::Word;
use super::variables::{has_effects, keyed};
use super::words::{assignment, is_name};

impl Evaluator<'_> {
    /// `declare` and its kind: their arguments are assignments, expanded as such.
    pub(super) fn declaration(&mut self, name: &str, words: &[Word]) -> Result<(), Stop> {
        let mut flags = String::new();
        let mut off = String::new();
        let mut rest = words;
        while let Some((word, behind)) = rest.split_first() {
            let text = word.text.as_str();
            if text == "--" {
                rest = behind;
                break;
            }
            if let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                flags.push_str(letters);
            } else if let Some(letters) = text.strip_prefix('+').filter(|letters| !letters.is_empty()) {
                off.push_str(letters);
            } else {
                break;
            }
            rest = behind;
        }
        if flags.contains(['f', 'F', 'p']) || (rest.is_empty() && name != "local") {
            let names = self.fields_of(rest).map_err(Self::must_run)?;
            return self.show(name, &flags, &names);
        }
        self.substituted = Substituted::No;
        // In the order of the words, arrays get their values and texts are expanded; all are before a text is assigned.
        let mut prepared = Vec::with_capacity(rest.len());
        for word in rest {
            for word in self.declared_words(&flags, word)? {
                if word.elements.is_some() {
                    self.declare(name, &flags, &off, &word, None)?;
                } else {
                    let value = match self.prepared(&word, false) {
                        Ok(value) => value.map(Ok),
                        Err(Stop::Unknown(need)) if !has_effects(&word.text) => Some(Err(need)),
                        Err(stop) => return Err(Self::must_run(stop)),
                    };
                    prepared.push((word, value));
                }
            }
        }
        for (word, value) in prepared {
            self.declare(name, &flags, &off, &word, value)?;
        }
        self.status = Some(0);
        Ok(())
    }

    /// What one word of a declaration becomes: itself, where it is an assignment without braces, else its fields.
    fn declared_words(&mut self, flags: &str, word: &Word) -> Result<Vec<Word>, Stop> {
        if assignment(&word.text).is_none() {
            return self.declared_fields(flags, word);
        }
        if word.elements.is_some() {
            return Ok(vec![word.clone()]);
        }
        let parts = super::braces::expand(&word.text, &mut self.budget)?;
        if let [text] = &parts[..] {
            return Ok(vec![Word { text: text.clone(), ..word.clone() }]);
        }
        // Where braces were expanded, it is a word like any other.
        let mut words = Vec::new();
        for text in parts {
            words.extend(self.declared_fields(flags, &Word { text, ..word.clone() })?);
        }
        Ok(words)
    }

    /// What the fields of a word of a declaration declare.
    fn declared_fields(&mut self, flags: &str, word: &Word) -> Result<Vec<Word>, Stop> {
        let mut words = Vec::new();
        for text in self.fields(&word.text).map_err(Self::must_run)? {
            // A list in parentheses is one even if it was quoted.
            if flags.contains(['a', 'A'])
                && assignment(&text).is_some_and(|found| found.value.starts_with('(') && found.value.ends_with(')'))
                && let Some(list) = super::parse::assignment_word(&text, word.line)
            {
                words.push(list);
                continue;
            }
            // What an expansion gave is not expanded again.
            let text = match assignment(&text) {
                Some(found) if found.subscript.is_none() => {
                    let length = text.len() - found.value.len();
                    format!("{}{}", &text[..length], quoted(found.value))
                }
                _ => text,
            };
            words.push(Word { text, ..word.clone() });
        }
        Ok(words)
    }

    /// Declares one name; `value` is its text, expanded already, or why that is not known.
    fn declare(
        &mut self,
        builtin: &str,
        flags: &str,
        off: &str,
        word: &Word,
        value: Option<Result<Word, Need>>,
    ) -> Result<(), Stop> {
        let found = assignment(&word.text);
        let (name, subscript) = match &found {
            Some(found) => (found.name.to_owned(), found.subscript.is_some()),
            None => match word.text.split_once('[') {
                Some((name, rest)) if rest.ends_with(']') => (name.to_owned(), true),
                _ => (word.text.clone(), false),
            },
        };
        if !is_name(&name) || (subscript && matches!(builtin, "export" | "readonly")) {
            return Err(Stop::Run(self.need(format!("`{}` is no name", word.text))));
        }
        let local = builtin == "local"
            || (matches!(builtin, "declare" | "typeset") && !self.frames.is_empty() && !flags.contains('g'));
        if builtin == "local" && self.frames.is_empty() {
            return Ok(());
        }
        // The value is expanded before the new variable hides the old one.
        let prepared = if word.elements.is_some() { self.prepared(word, flags.contains('A'))?.map(Ok) } else { value };
        if local && let Some(frame) = self.frames.last_mut() {
            self.budget.copy(frame.saved.len())?;
            let old = self.variables.get(&name).cloned();
            if !frame.saved.iter().any(|(saved, _)| *saved == name) {
                // What is exported stays so within the function.
                let exported = old.as_ref().is_some_and(|old| old.exported);
                frame.saved.push((name.clone(), old));
                self.variables.insert(name.clone(), Variable { exported, ..Variable::new(Value::Unset) });
            }
        }
        let entry = self.variables.entry(name.clone()).or_insert_with(|| Variable::new(Value::Unset));
        for (letter, on) in flags.chars().map(|flag| (flag, true)).chain(off.chars().map(|flag| (flag, false))) {
            match letter {
                'i' => entry.integer = on,
                'l' => (entry.lower, entry.upper) = (on, entry.upper && !on),
                'u' => (entry.upper, entry.lower) = (on, entry.lower && !on),
                'x' => entry.exported = on,
                'n' if builtin != "export" => entry.reference = on,
                // One that is nothing yet becomes what it is assigned.
                'a' if on && !(word.elements.is_some() && matches!(entry.value, Value::Unset)) => entry.become_array(),
                'A' if on && !matches!(entry.value, Value::Assoc(_)) => {
                    entry.value = Value::Assoc(super::assoc::Assoc::default());
                }
                _ => {}
            }
        }
        if subscript && found.is_none() {
            // A subscript alone declares an array, and no element of it.
            entry.become_array();
        }
        if builtin == "export" {
            entry.exported = !flags.contains('n');
        }
        let reference = entry.reference;
        match prepared {
            None => {}
            Some(Err(need)) => self.assign_unknown(&name, need),
            Some(Ok(prepared)) if reference => {
                let target = assignment(&prepared.text).map(|found| found.value.to_owned()).unwrap_or_default();
                let target = self.string(&target)?;
                if let Some(variable) = self.variables.get_mut(&name) {
                    variable.value = Value::Scalar(target);
                }
            }
            Some(Ok(prepared)) => self.assign_word(&prepared)?,
        }
        if (builtin == "readonly" || flags.contains('r'))
            && let Some(variable) = self.variables.get_mut(&name)
        {
            variable.readonly = true;
        }
        Ok(())
    }

    /// A declaration's assignment with its text expanded already; nothing where there is none.
    fn prepared(&mut self, word: &Word, table: bool) -> Result<Option<Word>, Stop> {
        let Some(found) = assignment(&word.text) else { return Ok(None) };
        if word.elements.is_some() {
            let table = table
                || matches!(
                    self.variables.get(&self.resolve(found.name)),
                    Some(Variable { value: Value::Assoc(_), .. })
                );
            let mut elements = Vec::new();
            for element in word.elements.iter().flatten() {
                match self.prepared_element(element, table) {
                    Ok(texts) => {
                        elements.extend(texts.into_iter().map(|text| Word {
                            text,
                            line: element.line,
                            elements: None,
                        }));
                    }
                    Err(Stop::Unknown(_)) => return Ok(Some(word.clone())),
                    Err(stop) => return Err(stop),
                }
            }
            return Ok(Some(Word { text: word.text.clone(), line: word.line, elements: Some(elements) }));
        }
        let value = self.declared_string(found.value)?;
        let start = &word.text[..word.text.len() - found.value.len()];
        Ok(Some(Word { text: format!("{start}{}", quoted(&value)), line: word.line, elements: None }))
    }

    /// An array's element with its text expanded already; those of a table wait until they are assigned.
    fn prepared_element(&mut self, element: &Word, table: bool) -> Result<Vec<String>, Stop> {
        match keyed(&element.text) {
            Some(_) if table => Ok(vec![element.text.clone()]),
            Some((subscript, add, value)) if super::braces::expand(&element.text, &mut self.budget)?.len() == 1 => {
                let (key, text) = (self.string(subscript)?, self.element_string(value)?);
                let operator = if add { "+=" } else { "=" };
                Ok(vec![format!("[{}]{operator}{}", quoted(&key), quoted(&text))])
            }
            _ => Ok(self.fields(&element.text)?.iter().map(|field| quoted(field)).collect()),
        }
    }

    /// `declare -p` and `declare -f`.
    fn show(&mut self, builtin: &str, flags: &str, names: &[String]) -> Result<(), Stop> {
        if names.is_empty() {
            return if self.output.is_some() { self.unknown_command(builtin) } else { Ok(()) };
        }
        let mut status = 0;
        for name in names {
            if flags.contains('F') {
                if self.functions.contains_key(name) {
                    self.print(&format!("{name}\n"))?;
                } else {
                    status = 1;
                }
            } else if flags.contains('f') {
                match self.functions.get(name).map(|function| super::print::function(function)) {
                    Some(text) => self.print(&text)?,
                    None => status = 1,
                }
            } else {
                match self.variables.get(name) {
                    None => {
                        self.lookup(name).map_err(Self::must_run)?;
                        status = 1;
                    }
                    Some(Variable { value: Value::Scalar(text), .. }) if self.output.is_some() => {
                        let flags = self.variables.get(name).map(Variable::attributes).unwrap_or_default();
                        let flags = if flags.is_empty() { "-".to_owned() } else { flags };
                        let quoted = if text.chars().any(char::is_control) {
                            single(text)
                        } else {
                            let mut out = String::from("\"");
                            for c in text.chars() {
                                if "\\\"$`".contains(c) {
                                    out.push('\\');
                                }
                                out.push(c);
                            }
                            out + "\""
                        };
                        self.print(&format!("declare -{flags} {name}={quoted}\n"))?;
                    }
                    Some(_) if self.output.is_some() => return self.unknown_command("declare -p"),
                    Some(_) => {}
                }
            }
        }
        self.status = Some(status);
        Ok(())
    }
}

/// Quotes a text so that expanding it gives the text.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use crate::shell::budget::Budget;
    use crate::shell::evaluate::{Evaluator, held};
    use crate::shell::state::Value;

    #[test]
    fn a_list_that_is_declared_where_nothing_separates_is_not_known() {
        for text in ["$*", "x${*}", "${y[*]}", "${z:-$*}"] {
            let names = || Some(Vec::new());
            let mut shell = Evaluator::new(Budget::default(), &names);
            shell.run(&format!("set -- '' 0; y=(1 2); IFS=; declare a={text}"), 1).unwrap();
            assert!(matches!(shell.variable("a").unwrap().value, Value::Unknown(_)), "{text}");
        }
        assert_eq!(held("set -- u v; IFS=; declare a=$1 z=\"$*\"", "z"), ["uv"]);
    }

    #[test]
    fn a_subscript_alone_declares_an_array() {
        for (text, expected) in
            [("z=x; declare 'z[3]'", &["x"][..]), ("declare 'z[3]' z=x z[1]", &["x"]), ("declare z[3]", &[])]
        {
            let names = || Some(Vec::new());
            let mut shell = Evaluator::new(Budget::default(), &names);
            shell.run(text, 1).unwrap();
            assert!(matches!(shell.variable("z").unwrap().value, Value::Indexed(_)), "{text}");
            assert_eq!(held(text, "z"), expected, "{text}");
        }
        assert_eq!(held("declare -A z=([a]=1); declare z[b]", "z"), ["1"]);
    }

    #[test]
    fn what_is_declared_is_expanded_once_and_in_order() {
        let cases: [(&str, &[&str]); 5] = [
            ("n=0; declare a=$((n++)) z={1,2}$((n++))", &["22"]),
            ("n=0; declare -a z=([2]+=$[n++]: $((n=7)){1,2})", &["0:", "71", "72"]),
            ("n=0; declare -a z=([2]=$[n++]: $((n++)))", &["0:", "1"]),
            ("i=3; declare -a z=([i]=a [i+1]=b)", &["a", "b"]),
            ("declare -A z=([a b]=\"c d\")", &["c d"]),
        ];
        for (text, expected) in cases {
            assert_eq!(held(text, "z"), expected, "{text}");
        }
    }
}
