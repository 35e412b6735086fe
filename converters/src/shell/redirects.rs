// converters/src/shell/redirects.rs
//! Redirections, and the builtins that read.

use std::collections::BTreeMap;

use super::evaluate::{Evaluator, Need, Stop};
use super::state::Value;
use super::syntax::Command;

/// What a command may read.
#[derive(Debug, Clone)]
pub(super) struct Input {
    text: String,
    at: usize,
    unknown: Option<Need>,
}

impl Input {
    pub fn new(text: String) -> Self {
        Self { text, at: 0, unknown: None }
    }

    pub fn unknown(need: Need) -> Self {
        Self { text: String::new(), at: 0, unknown: Some(need) }
    }

    /// All that is left.
    pub fn rest(&mut self) -> Result<String, Stop> {
        if let Some(need) = &self.unknown {
            return Err(Stop::Unknown(need.clone()));
        }
        let rest = self.text[self.at..].to_owned();
        self.at = self.text.len();
        Ok(rest)
    }

    /// Up to the next delimiter; says whether there was one.
    fn record(&mut self, delimiter: Option<char>) -> Result<(String, bool), Stop> {
        if let Some(need) = &self.unknown {
            return Err(Stop::Unknown(need.clone()));
        }
        let rest = &self.text[self.at..];
        let (text, length, found) = match delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| (at, delimiter)))
        {
            Some((at, delimiter)) => (&rest[..at], at + delimiter.len_utf8(), true),
            None => (rest, rest.len(), false),
        };
        let text = text.to_owned();
        self.at += length;
        Ok((text, found))
    }
}

impl Evaluator<'_> {
    /// A command with redirections.
    pub(super) fn redirected(&mut self, command: &Command) -> Result<(), Stop> {
        let mut input = None;
        let (mut sink, mut into_file) = (false, false);
        for redirect in &command.redirects {
            let target = redirect.target.text.as_str();
            match redirect.operator.as_str() {
                "<<<" => {
                    input = Some(match self.string(target) {
                        Ok(text) => Input::new(text + "\n"),
                        Err(Stop::Unknown(need)) => Input::unknown(need),
                        Err(stop) => return Err(stop),
                    });
                }
                "<<" | "<<-" => {
                    if let Some(document) = &redirect.document {
                        input = Some(if document.quoted {
                            Input::new(document.body.clone())
                        } else {
                            match self.document(&document.body) {
                                Ok(text) => Input::new(text),
                                Err(Stop::Unknown(need)) => Input::unknown(need),
                                Err(stop) => return Err(stop),
                            }
                        });
                    }
                }
                "<" if redirect.left.is_empty() || redirect.left == "0" => {
                    input = Some(match target.strip_prefix("<(").and_then(|text| text.strip_suffix(')')) {
                        Some(inner) => match self.process(inner) {
                            Ok(text) => Input::new(text),
                            Err(Stop::Unknown(need)) => Input::unknown(need),
                            Err(stop) => return Err(stop),
                        },
                        None => Input::unknown(self.need(format!("the content of {target}"))),
                    });
                }
                ">&" if target == "1" => {}
                ">&" if redirect.left == "2" => {}
                ">&" | ">" | ">>" | ">|" | "&>" | "&>>" => {
                    let stdout = matches!(redirect.left.as_str(), "" | "1");
                    if stdout {
                        sink = true;
                        into_file |= target != "/dev/null" && target != "2" && target != "/dev/stderr";
                    }
                }
                _ => {}
            }
        }
        let outer_input = match input {
            Some(input) => Some(self.input.replace(input)),
            None => None,
        };
        let outer_output = if sink { Some(self.output.take()) } else { None };
        let result = self.kind(command);
        if let Some(outer) = outer_output {
            self.output = outer;
        }
        if let Some(outer) = outer_input {
            self.input = outer;
        }
        if into_file && result.is_ok() {
            // Whether the file could be written is not known.
            self.status = None;
        }
        result
    }

    /// What the commands in `<(...)` print.
    fn process(&mut self, text: &str) -> Result<String, Stop> {
        let line = self.line;
        let script = super::parse::parse(text, line)?;
        let status = self.status;
        let result = self.captured(|shell| {
            shell.input = None;
            shell.list(&script.statements)
        });
        self.line = line;
        self.status = status;
        match result {
            Err(Stop::Run(need)) => Err(Stop::Unknown(need)),
            other => other,
        }
    }

    fn take_record(&mut self, delimiter: Option<char>) -> Result<(String, bool), Stop> {
        match &mut self.input {
            Some(input) => input.record(delimiter),
            None => Err(Stop::Unknown(self.need("what is read from outside"))),
        }
    }

    /// `read`.
    pub(super) fn read_builtin(&mut self, arguments: &[String]) -> Result<(), Stop> {
        let (mut raw, mut array, mut delimiter) = (false, None, Some('\n'));
        let mut names = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some(flags) = argument.strip_prefix('-').filter(|flags| !flags.is_empty() && names.is_empty()) else {
                names.push(argument.clone());
                continue;
            };
            for (index, flag) in flags.char_indices() {
                let behind = &flags[index + flag.len_utf8()..];
                let mut value =
                    || if behind.is_empty() { rest.next().cloned().unwrap_or_default() } else { behind.to_owned() };
                match flag {
                    'r' => raw = true,
                    'a' => {
                        array = Some(value());
                        break;
                    }
                    'd' => {
                        delimiter = value().chars().next();
                        break;
                    }
                    _ => return Err(Stop::Run(self.need(format!("`read -{flag}`")))),
                }
            }
        }
        let targets: Vec<String> = if let Some(array) = &array {
            vec![array.clone()]
        } else if names.is_empty() {
            vec!["REPLY".to_owned()]
        } else {
            names.clone()
        };
        let (mut text, mut found) = match self.take_record(delimiter) {
            Ok(record) => record,
            Err(Stop::Unknown(need)) => {
                for target in &targets {
                    self.assign_unknown(target, need.clone());
                }
                self.status = None;
                return Ok(());
            }
            Err(stop) => return Err(stop),
        };
        if !raw {
            while found && text.ends_with('\\') && !text.ends_with("\\\\") {
                text.pop();
                let (more, ended) = self.take_record(delimiter)?;
                text.push_str(&more);
                found = ended;
            }
            if text.contains('\\') {
                let mut plain = String::new();
                let mut chars = text.chars();
                while let Some(c) = chars.next() {
                    if c == '\\' { plain.extend(chars.next()) } else { plain.push(c) }
                }
                // An escaped blank would not split; nobody writes that.
                text = plain;
            }
        }
        let separators = match self.lookup("IFS")? {
            Some(variable) => variable.value.first().unwrap_or_default().to_owned(),
            None => " \t\n".to_owned(),
        };
        self.status = Some(i32::from(!found));
        if let Some(array) = array {
            let fields = cut(&text, &separators, usize::MAX);
            let elements: BTreeMap<i64, String> = (0..).zip(fields).collect();
            self.put(&array, Value::Indexed(elements));
            return Ok(());
        }
        if names.is_empty() {
            return self.assign_scalar("REPLY", text);
        }
        let mut fields = cut(&text, &separators, names.len()).into_iter();
        for name in names {
            self.assign_scalar(&name, fields.next().unwrap_or_default())?;
        }
        Ok(())
    }

    /// `mapfile`.
    pub(super) fn mapfile(&mut self, arguments: &[String]) -> Result<(), Stop> {
        let (mut strip, mut delimiter, mut name) = (false, Some('\n'), None);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "-t" => strip = true,
                "-d" => delimiter = rest.next().and_then(|text| text.chars().next()),
                "-td" => {
                    strip = true;
                    delimiter = rest.next().and_then(|text| text.chars().next());
                }
                text if !text.starts_with('-') => name = Some(text.to_owned()),
                text => return Err(Stop::Run(self.need(format!("`mapfile {text}`")))),
            }
        }
        let name = name.unwrap_or_else(|| "MAPFILE".to_owned());
        let mut elements = BTreeMap::new();
        loop {
            self.budget.step()?;
            let (mut text, found) = match self.take_record(delimiter) {
                Ok(record) => record,
                Err(Stop::Unknown(need)) => {
                    self.assign_unknown(&name, need);
                    self.status = Some(0);
                    return Ok(());
                }
                Err(stop) => return Err(stop),
            };
            if text.is_empty() && !found {
                break;
            }
            if !strip && found {
                text.extend(delimiter);
            }
            elements.insert(i64::try_from(elements.len()).unwrap_or(0), text);
        }
        self.put(&name, Value::Indexed(elements));
        self.status = Some(0);
        Ok(())
    }
}

/// Splits a line as `read` does: the last of `most` fields takes the rest.
fn cut(text: &str, separators: &str, most: usize) -> Vec<String> {
    let is_blank = |c: char| separators.contains(c) && " \t\n".contains(c);
    let mut rest = text.trim_start_matches(is_blank);
    let mut fields = Vec::new();
    while !rest.is_empty() {
        if fields.len() + 1 == most {
            let mut last = rest.trim_end_matches(is_blank);
            // One separator behind the last field belongs to it only if more follows.
            if let Some(c) = last.chars().next_back().filter(|c| separators.contains(*c) && !is_blank(*c)) {
                let shorter = &last[..last.len() - c.len_utf8()];
                if !shorter.contains(|c: char| separators.contains(c)) {
                    last = shorter;
                }
            }
            fields.push(last.to_owned());
            return fields;
        }
        let end = rest.find(|c: char| separators.contains(c)).unwrap_or(rest.len());
        fields.push(rest[..end].to_owned());
        let behind = rest[end..].trim_start_matches(is_blank);
        rest = match behind.chars().next() {
            Some(c) if separators.contains(c) && !is_blank(c) => behind[c.len_utf8()..].trim_start_matches(is_blank),
            _ => behind,
        };
    }
    fields
}
