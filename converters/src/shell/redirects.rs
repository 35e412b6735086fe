// converters/src/shell/redirects.rs
//! Redirections, and the builtins that read.

use super::bytes::is_byte;
use super::evaluate::{Evaluator, Need, Stop};
use super::fields::ends_in_backslash;
use super::state::{Elements, Value};
use super::syntax::Command;
use super::variables::has_effects;

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

    /// What a text was expanded to. One that is not known must not have been about to set something.
    fn of(expanded: Result<String, Stop>, text: &str) -> Result<Self, Stop> {
        match expanded {
            Ok(text) => Ok(Self::new(text)),
            Err(Stop::Unknown(need)) if has_effects(text) => Err(Stop::Run(need)),
            Err(Stop::Unknown(need)) => Ok(Self::unknown(need)),
            Err(stop) => Err(stop),
        }
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
            if !redirect.operator.starts_with("<<") && !target.starts_with("<(") && has_effects(target) {
                return Err(Stop::Run(self.need(format!("what naming a file `{target}` sets"))));
            }
            match redirect.operator.as_str() {
                "<<<" => {
                    let text = self.string(target).map(|text| text + "\n");
                    input = Some(Input::of(text, target)?);
                }
                "<<" | "<<-" => {
                    if let Some(document) = &redirect.document {
                        input = Some(if document.quoted {
                            Input::new(document.body.clone())
                        } else {
                            Input::of(self.document(&document.body), &document.body)?
                        });
                    }
                }
                "<" if redirect.left.is_empty() || redirect.left == "0" => {
                    input = Some(match target.strip_prefix("<(").and_then(|text| text.strip_suffix(')')) {
                        // It runs in a process of its own, which sets nothing here.
                        Some(inner) => Input::of(self.process(inner), "")?,
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
        let (text, found) = match self.take_line(delimiter, raw) {
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
        let line = if raw { text.chars().map(|c| (c, false)).collect() } else { without_backslashes(&text) };
        let separators = match self.lookup("IFS")? {
            Some(variable) => variable.value.first().unwrap_or_default().to_owned(),
            None => " \t\n".to_owned(),
        };
        self.status = Some(i32::from(!found));
        if let Some(array) = array {
            let fields = cut(&line, &separators, usize::MAX);
            self.put(&array, Value::Indexed((0..).zip(fields).collect()));
            return Ok(());
        }
        if names.is_empty() {
            return self.assign_scalar("REPLY", line.into_iter().map(|(c, _)| c).collect());
        }
        let mut fields = cut(&line, &separators, names.len()).into_iter();
        for name in names {
            self.assign_scalar(&name, fields.next().unwrap_or_default())?;
        }
        Ok(())
    }

    /// Takes what one `read` reads: up to the first delimiter without a backslash before it. Says whether there was one.
    fn take_line(&mut self, delimiter: Option<char>, raw: bool) -> Result<(String, bool), Stop> {
        let (mut text, mut found) = self.take_record(delimiter)?;
        while !raw && found && ends_in_backslash(&text) {
            text.extend(delimiter);
            let (more, ended) = self.take_record(delimiter)?;
            text.push_str(&more);
            found = ended;
        }
        // In both bash counts otherwise: it joins such a byte to the end of its line, or leaves a mark of its own.
        let odd = text.chars().any(is_byte) || (!raw && !found && ends_in_backslash(&text));
        if odd { Err(Stop::Unknown(self.need("what `read` makes of it"))) } else { Ok((text, found)) }
    }

    /// `mapfile`.
    pub(super) fn mapfile(&mut self, arguments: &[String]) -> Result<(), Stop> {
        let (mut strip, mut delimiter, mut name) = (false, Some('\n'), None);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some(flags) = argument.strip_prefix('-').filter(|_| name.is_none()) else {
                name = Some(argument.clone());
                continue;
            };
            for (index, flag) in flags.char_indices() {
                match flag {
                    't' => strip = true,
                    'd' => {
                        let behind = &flags[index + 1..];
                        let value = if behind.is_empty() { rest.next().map_or("", String::as_str) } else { behind };
                        delimiter = value.chars().next();
                        break;
                    }
                    _ => return Err(Stop::Run(self.need(format!("`mapfile -{flag}`")))),
                }
            }
        }
        let name = name.unwrap_or_else(|| "MAPFILE".to_owned());
        let mut elements = Elements::default();
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
            let index = i64::try_from(elements.len()).unwrap_or(0);
            elements.insert(index, text);
        }
        self.put(&name, Value::Indexed(elements));
        self.status = Some(0);
        Ok(())
    }
}

/// Whether the last backslash of a line protects its end.
/// A line that `read` cuts: characters, each with whether a backslash stood before it.
type Line = [(char, bool)];

/// The characters of a line, each with whether a backslash stood before it; the end of a line behind one is nothing.
fn without_backslashes(text: &str) -> Vec<(char, bool)> {
    let mut chars = text.chars();
    let mut out = Vec::new();
    while let Some(c) = chars.next() {
        if c == '\\' {
            out.extend(chars.next().filter(|c| *c != '\n').map(|c| (c, true)));
        } else {
            out.push((c, false));
        }
    }
    out
}

/// Splits a line as `read` does: the last of `most` fields takes the rest.
fn cut(line: &Line, separators: &str, most: usize) -> Vec<String> {
    let separates = |(c, escaped): (char, bool)| !escaped && separators.contains(c);
    let is_blank = |of: (char, bool)| separates(of) && " \t\n".contains(of.0);
    let count = |part: &Line| part.iter().take_while(|of| is_blank(**of)).count();
    let text = |part: &Line| part.iter().map(|(c, _)| *c).collect::<String>();
    // A word, and what stands behind the separator that follows it and the blanks around that.
    let take = |rest| -> (&Line, &Line) {
        let rest: &Line = rest;
        let (word, mut behind) = rest.split_at(rest.iter().position(|of| separates(*of)).unwrap_or(rest.len()));
        behind = &behind[count(behind)..];
        if behind.first().is_some_and(|of| separates(*of)) {
            behind = &behind[1..];
            behind = &behind[count(behind)..];
        }
        (word, behind)
    };
    let mut rest = &line[count(line)..];
    let mut fields = Vec::new();
    while !rest.is_empty() {
        if fields.len() + 1 == most {
            let (word, behind) = take(rest);
            // What follows the last word belongs to it, but for blanks at the end: there a backslash does not save them.
            let ends = |of: &(char, bool)| separators.contains(of.0) && " \t\n".contains(of.0);
            let end = rest.iter().rposition(|of| !ends(of)).map_or(0, |at| at + 1);
            fields.push(text(if behind.is_empty() { word } else { &rest[..end] }));
            return fields;
        }
        let (word, behind) = take(rest);
        fields.push(text(word));
        rest = behind;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::{cut, without_backslashes};
    use crate::shell::budget::Budget;
    use crate::shell::evaluate::{Evaluator, Stop, held};
    use crate::shell::state::Value;

    #[test]
    fn a_backslash_before_a_delimiter_or_the_end_of_a_line_is_taken_away() {
        let cases = [
            ("read -d : x <<< 'a\\:b:c'", "a:b"),
            ("read -d '' x <<< 'a\\\nb'", "ab"),
            ("read -d : x <<< 'a\\\nb:c'", "ab"),
            ("read -d : x <<< 'a\\\\\nb:c'", "a\\\nb"),
            ("read x y <<< 'a\\\nb c'", "ab"),
        ];
        for (text, expected) in cases {
            assert_eq!(held(text, "x"), [expected], "{text}");
        }
    }

    #[test]
    fn what_an_operator_makes_of_a_list_in_a_document_is_not_known_with_other_separators() {
        for (text, known) in [("${y[*]#z}", false), ("${y[*]:0}", false), ("${y[*]}", true), ("${y[*]:1}", true)] {
            let names = || Some(Vec::new());
            let mut shell = Evaluator::new(Budget::default(), &names);
            shell.run(&format!("IFS=-; y=(a b); read x <<E\n{text}\nE\n"), 1).unwrap();
            assert_eq!(!matches!(shell.variable("x").unwrap().value, Value::Unknown(_)), known, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_and_would_set_something_has_to_be_run() {
        for text in [
            "IFS=:; read x <<< ${s:=\"$*\"}",
            "read x <<< \"$(git describe)$((n++))\"",
            "read x <<E\n${s:=$(git describe)}\nE",
            "read x < ${s:=file}",
            "true > ${s:=file}",
        ] {
            let names = || Some(Vec::new());
            let ended = Evaluator::new(Budget::default(), &names).run(text, 1);
            assert!(matches!(ended, Err(Stop::Run(_))), "{text}: {ended:?}");
        }
        let names = || Some(Vec::new());
        assert!(Evaluator::new(Budget::default(), &names).run("read x <<< $(git describe)", 1).is_ok());
    }

    #[test]
    fn read_cuts_lines_as_bash_does() {
        let cases: [(&str, &str, usize, &[&str]); 9] = [
            ("a b  c ", " \t\n", 2, &["a", "b  c"]),
            (r"x\ ", " \t\n", 1, &["x "]),
            (r"z b\ ", " \t\n", 1, &["z b"]),
            (r"z b\ c\ ", " \t\n", 2, &["z", "b c "]),
            (r"z  \ ", " \t\n", 1, &["z"]),
            (r"z\  ", " \t\n", 2, &["z "]),
            ("x:", ":", 1, &["x"]),
            ("x::", ":", 1, &["x::"]),
            ("a : b:c", " :", 2, &["a", "b:c"]),
        ];
        for (line, separators, most, expected) in cases {
            assert_eq!(cut(&without_backslashes(line), separators, most), expected, "{line:?}");
        }
    }
}
