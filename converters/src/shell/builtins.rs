// converters/src/shell/builtins.rs
//! The builtins that only compute, and what is said of the others.

use std::collections::BTreeMap;

use super::evaluate::{Evaluator, Stop, Substituted};
use super::parse::parse;
use super::quoting::{Escapes, single, unescape};
use super::state::{Value, Variable};
use super::syntax::Word;
use super::words::{assignment, is_name};

/// Builtins of bash, known here or not.
const BUILTINS: &[&str] = &[
    ".",
    ":",
    "[",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "cd",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "declare",
    "dirs",
    "disown",
    "echo",
    "enable",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "getopts",
    "hash",
    "help",
    "history",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "wait",
];

/// makepkg's own functions that only say something.
const MESSAGES: &[&str] = &["msg", "msg2", "plain", "plainerr", "warning", "error", "ask"];

pub(super) fn is_builtin(name: &str) -> bool {
    BUILTINS.contains(&name)
}

/// Builtins whose arguments are assignments.
pub(super) fn is_declaration(name: &str) -> bool {
    ["declare", "typeset", "local", "readonly", "export"].contains(&name)
}

impl Evaluator<'_> {
    /// Runs a builtin, or notes that something is not here.
    pub(super) fn builtin(&mut self, fields: &[String]) -> Result<(), Stop> {
        let name = fields[0].as_str();
        let arguments = &fields[1..];
        let status = match name {
            ":" | "true" => Some(0),
            "false" => Some(1),
            "echo" => {
                self.echo(arguments)?;
                Some(0)
            }
            "printf" => return self.printf(arguments),
            "[" | "test" => {
                let inner = if name == "[" {
                    match arguments.split_last() {
                        Some((last, inner)) if last == "]" => inner,
                        _ => return Err(Stop::Run(self.need("`[` without `]`"))),
                    }
                } else {
                    arguments
                };
                match self.test(inner) {
                    Ok(held) => Some(i32::from(!held)),
                    Err(Stop::Unknown(_)) => None,
                    Err(stop) => return Err(stop),
                }
            }
            "let" => {
                let mut value = 0;
                for argument in arguments {
                    value = self.plain_arithmetic(argument)?;
                }
                Some(i32::from(value == 0))
            }
            "unset" => Some(self.unset_names(arguments)?),
            "shift" => {
                let count = arguments.first().map_or(Ok(1), |count| count.parse::<usize>());
                let known = self.positionals().map_err(Self::must_run)?;
                match count {
                    Ok(count) if count <= known.len() => {
                        self.positional.drain(..count);
                        Some(0)
                    }
                    _ => Some(1),
                }
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    Some(0)
                } else {
                    let levels = arguments.first().and_then(|count| count.parse().ok()).unwrap_or(1_usize);
                    let levels = levels.clamp(1, self.loops);
                    self.status = Some(0);
                    return Err(if name == "break" { Stop::Break(levels) } else { Stop::Continue(levels) });
                }
            }
            "return" | "exit" => {
                let status = match arguments.first() {
                    Some(text) => Some(text.parse().map_err(|_| Stop::Run(self.need("a status that is no number")))?),
                    None => self.status,
                };
                return Err(if name == "return" { Stop::Return(status) } else { Stop::Exit(status) });
            }
            "eval" => {
                let text = arguments.join(" ");
                let line = self.line;
                let script = parse(&text, line)?;
                if script.statements.is_empty() {
                    self.status = Some(0);
                }
                return self.deeper(|shell| shell.list(&script.statements));
            }
            "set" => return self.set_positional(arguments),
            "shopt" => return self.shopt(arguments),
            "read" => return self.read_builtin(arguments),
            "mapfile" | "readarray" => return self.mapfile(arguments),
            "command" | "builtin" if arguments.first().is_some_and(|first| !first.starts_with('-')) => {
                return self.builtin(arguments);
            }
            "umask" | "ulimit" | "hash" | "alias" | "unalias" | "times" | "trap" if self.output.is_none() => Some(0),
            "type" | "command" | "pwd" | "kill" | "caller" | "compgen" | "dirs" | "jobs" | "wait" => {
                return self.unknown_command(name);
            }
            _ if is_builtin(name) => return Err(Stop::Run(self.need(format!("`{name}`")))),
            _ if MESSAGES.contains(&name) => Some(0),
            "in_array" => Some(i32::from(!arguments.iter().skip(1).any(|item| *item == arguments[0]))),
            _ => return self.filter(name, arguments),
        };
        self.status = status;
        Ok(())
    }

    /// A command that is not carried out: what it prints and whether it succeeds is not known.
    pub(super) fn unknown_command(&mut self, name: &str) -> Result<(), Stop> {
        if self.output.is_some() {
            return Err(Stop::Unknown(self.need(format!("the output of `{name}`"))));
        }
        self.status = None;
        Ok(())
    }

    fn echo(&mut self, arguments: &[String]) -> Result<(), Stop> {
        let (mut newline, mut escapes) = (true, false);
        let mut rest = arguments;
        while let Some((first, behind)) = rest.split_first() {
            let Some(flags) = first.strip_prefix('-').filter(|flags| !flags.is_empty()) else { break };
            if !flags.chars().all(|flag| "neE".contains(flag)) {
                break;
            }
            for flag in flags.chars() {
                match flag {
                    'n' => newline = false,
                    'e' => escapes = true,
                    _ => escapes = false,
                }
            }
            rest = behind;
        }
        let mut text = rest.join(" ");
        if escapes {
            let (plain, ended) = unescape(&text, Escapes::Echo);
            text = plain;
            newline &= !ended;
        }
        if newline {
            text.push('\n');
        }
        self.print(&text)
    }

    fn unset_names(&mut self, arguments: &[String]) -> Result<i32, Stop> {
        let mut status = 0;
        let (mut functions, mut references) = (false, false);
        for argument in arguments {
            match argument.as_str() {
                "-f" => functions = true,
                "-v" => functions = false,
                "-n" => references = true,
                name if references => {
                    self.variables.remove(name);
                }
                name if functions => {
                    self.functions.remove(name);
                }
                name => {
                    if let Some((array, subscript)) = name.split_once('[') {
                        let subscript = subscript.trim_end_matches(']').to_owned();
                        if !self.unset_element(array, &subscript)? {
                            status = 1;
                        }
                    } else {
                        let name = self.resolve(name);
                        if self.variables.contains_key(&name) {
                            self.check_writable(&name)?;
                            self.variables.remove(&name);
                        } else {
                            self.functions.remove(&name);
                        }
                    }
                }
            }
        }
        Ok(status)
    }

    /// Removes an element; says whether its subscript is one.
    fn unset_element(&mut self, array: &str, subscript: &str) -> Result<bool, Stop> {
        let array = self.resolve(array);
        let value = match self.lookup(&array).map_err(Self::must_run)? {
            Some(variable) => variable.value.clone(),
            None => return Ok(true),
        };
        match value {
            _ if subscript == "@" || subscript == "*" => {
                self.variables.remove(&array);
            }
            Value::Indexed(mut elements) => {
                let index = self.arithmetic(subscript)?;
                let index = self.element_index(&array, index);
                if index < 0 {
                    return Ok(false);
                }
                elements.remove(&index);
                self.put(&array, Value::Indexed(elements));
            }
            Value::Assoc(mut table) => {
                let key = self.string(subscript)?;
                table.remove(&key);
                self.put(&array, Value::Assoc(table));
            }
            Value::Scalar(_) if self.arithmetic(subscript)? == 0 => {
                self.variables.remove(&array);
            }
            Value::Scalar(_) => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    fn set_positional(&mut self, arguments: &[String]) -> Result<(), Stop> {
        match arguments {
            [first, rest @ ..] if first == "--" => {
                self.positional = rest.to_vec();
                self.positional_known = true;
            }
            [first, ..] if first == "-e" || first == "+e" || first == "-eu" || first == "-u" || first == "+u" => {
                if first.starts_with('-') {
                    return Err(Stop::Run(self.need("`set -e` and `set -u` end the shell where something fails")));
                }
            }
            [first, ..] if !first.starts_with(['-', '+']) => {
                self.positional = arguments.to_vec();
                self.positional_known = true;
            }
            [first, ..]
                if ["-x", "+x", "-v", "+v", "-h", "+h", "+H", "+o", "+B"].contains(&first.as_str())
                    && arguments.len() <= 2 => {}
            _ => return Err(Stop::Run(self.need("`set` with options"))),
        }
        self.status = Some(0);
        Ok(())
    }

    fn shopt(&mut self, arguments: &[String]) -> Result<(), Stop> {
        let Some((flag, names)) = arguments.split_first() else { return self.unknown_command("shopt") };
        if flag == "-p" || flag == "-q" || !flag.starts_with('-') {
            if let [name] = if flag.starts_with('-') { names } else { arguments } {
                let on = match name.as_str() {
                    "extglob" => self.extglob,
                    "nullglob" => self.nullglob,
                    _ => return self.unknown_command("shopt"),
                };
                if flag == "-p" {
                    self.print(&format!("shopt -{} {name}\n", if on { 's' } else { 'u' }))?;
                }
                self.status = Some(i32::from(!on));
                return Ok(());
            }
            return self.unknown_command("shopt");
        }
        let on = match flag.as_str() {
            "-s" => true,
            "-u" => false,
            _ => return Err(Stop::Run(self.need("`shopt` with other options"))),
        };
        for name in names {
            match name.as_str() {
                "extglob" => self.extglob = on,
                "nullglob" => self.nullglob = on,
                "globstar" | "expand_aliases" | "checkwinsize" | "progcomp" | "histappend" | "sourcepath"
                | "cmdhist" | "failglob" | "inherit_errexit" | "lastpipe" | "nocaseglob" | "dotglob"
                | "nocasematch" | "patsub_replacement"
                    if !on && name != "patsub_replacement" => {}
                "globstar" | "expand_aliases" | "checkwinsize" | "progcomp" | "histappend" | "sourcepath"
                | "cmdhist" | "inherit_errexit" => {}
                _ => return Err(Stop::Run(self.need(format!("`shopt {flag} {name}`")))),
            }
        }
        self.status = Some(0);
        Ok(())
    }

    /// `declare` and its kind: their arguments are assignments, expanded as such.
    pub(super) fn declaration(&mut self, name: &str, words: &[Word]) -> Result<(), Stop> {
        let mut flags = String::new();
        let mut off = String::new();
        let mut rest = words;
        let mut expanded = Vec::new();
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
        for word in rest {
            if assignment(&word.text).is_some() {
                if word.elements.is_some() {
                    expanded.push(word.clone());
                    continue;
                }
                let parts = super::braces::expand(&word.text, &mut self.budget)?;
                if let [text] = &parts[..] {
                    expanded.push(Word { text: text.clone(), ..word.clone() });
                } else {
                    // Where braces were expanded, it is a word like any other.
                    for text in parts {
                        self.declared_words(&flags, &Word { text, ..word.clone() }, &mut expanded)?;
                    }
                }
                continue;
            }
            self.declared_words(&flags, word, &mut expanded)?;
        }
        // Arrays get their values first; all texts are expanded before one of them is assigned.
        let mut prepared = Vec::with_capacity(expanded.len());
        for word in expanded {
            if word.elements.is_some() {
                self.declare(name, &flags, &off, &word, None)?;
            } else {
                let value = self.prepared(&word)?;
                prepared.push((word, value));
            }
        }
        for (word, value) in prepared {
            self.declare(name, &flags, &off, &word, value)?;
        }
        self.status = Some(0);
        Ok(())
    }

    /// The assignments that a word becomes which is none as it is written.
    fn declared_words(&mut self, flags: &str, word: &Word, expanded: &mut Vec<Word>) -> Result<(), Stop> {
        for text in self.fields(&word.text).map_err(Self::must_run)? {
            // A list in parentheses is one even if it was quoted.
            if flags.contains(['a', 'A'])
                && assignment(&text).is_some_and(|found| found.value.starts_with('(') && found.value.ends_with(')'))
                && let Some(list) = super::parse::assignment_word(&text, word.line)
            {
                expanded.push(list);
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
            expanded.push(Word { text, ..word.clone() });
        }
        Ok(())
    }

    fn declare(&mut self, builtin: &str, flags: &str, off: &str, word: &Word, value: Option<Word>) -> Result<(), Stop> {
        let found = assignment(&word.text);
        let name = match &found {
            Some(found) => found.name.to_owned(),
            None => word.text.split('[').next().unwrap_or_default().to_owned(),
        };
        if !is_name(&name) {
            return Err(Stop::Run(self.need(format!("`{name}` is no name"))));
        }
        let local = builtin == "local"
            || (matches!(builtin, "declare" | "typeset") && !self.frames.is_empty() && !flags.contains('g'));
        if builtin == "local" && self.frames.is_empty() {
            return Ok(());
        }
        // The value is expanded before the new variable hides the old one.
        let prepared = if word.elements.is_some() { self.prepared(word)? } else { value };
        if local && let Some(frame) = self.frames.last_mut() {
            let old = self.variables.get(&name).cloned();
            if !frame.saved.iter().any(|(saved, _)| *saved == name) {
                frame.saved.push((name.clone(), old));
                self.variables.insert(name.clone(), Variable::new(Value::Unset));
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
                'a' if on => {
                    entry.value = match std::mem::replace(&mut entry.value, Value::Unset) {
                        Value::Unset if word.elements.is_none() => Value::Indexed(BTreeMap::new()),
                        Value::Scalar(text) => Value::Indexed(BTreeMap::from([(0, text)])),
                        value => value,
                    };
                }
                'A' if on && !matches!(entry.value, Value::Assoc(_)) => {
                    entry.value = Value::Assoc(super::assoc::Assoc::default());
                }
                _ => {}
            }
        }
        if builtin == "export" {
            entry.exported = !flags.contains('n');
        }
        let reference = entry.reference;
        if let Some(prepared) = prepared {
            if reference {
                let target = assignment(&prepared.text).map(|found| found.value.to_owned()).unwrap_or_default();
                let target = self.string(&target)?;
                if let Some(variable) = self.variables.get_mut(&name) {
                    variable.value = Value::Scalar(target);
                }
            } else {
                self.assign_word(&prepared)?;
            }
        }
        if (builtin == "readonly" || flags.contains('r'))
            && let Some(variable) = self.variables.get_mut(&name)
        {
            variable.readonly = true;
        }
        Ok(())
    }

    /// A declaration's assignment with its text expanded already; nothing where there is none.
    fn prepared(&mut self, word: &Word) -> Result<Option<Word>, Stop> {
        let Some(found) = assignment(&word.text) else { return Ok(None) };
        if word.elements.is_some() {
            let mut elements = Vec::new();
            for element in word.elements.iter().flatten() {
                if element.text.starts_with('[') {
                    elements.push(element.clone());
                    continue;
                }
                match self.fields(&element.text) {
                    Ok(fields) => elements.extend(fields.into_iter().map(|field| Word {
                        text: quoted(&field),
                        line: element.line,
                        elements: None,
                    })),
                    Err(Stop::Unknown(_)) => return Ok(Some(word.clone())),
                    Err(stop) => return Err(stop),
                }
            }
            return Ok(Some(Word { text: word.text.clone(), line: word.line, elements: Some(elements) }));
        }
        match self.assigned_string(found.value) {
            Ok(value) => {
                let start = &word.text[..word.text.len() - found.value.len()];
                Ok(Some(Word { text: format!("{start}{}", quoted(&value)), line: word.line, elements: None }))
            }
            Err(Stop::Unknown(_)) => Ok(Some(word.clone())),
            Err(stop) => Err(stop),
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
