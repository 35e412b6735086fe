// converters/src/shell/filters.rs
//! The few programs that only turn text into text and stand in so many PKGBUILDs: `tr`, `cut`, `sed` with `s` alone, `cat`, `head`,
//! `tail`, `rev`, `basename`, `dirname`, `seq`. Their plain forms are computed; any other form is a command that is not carried out.

use std::collections::HashMap;

use super::evaluate::{Evaluator, Stop};
use super::regex::Regex;

impl Evaluator<'_> {
    /// A command that is neither a function nor a builtin.
    pub(super) fn filter(&mut self, name: &str, arguments: &[String]) -> Result<(), Stop> {
        if self.output.is_none() {
            return self.unknown_command(name);
        }
        let texts: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let result = match (name, &texts[..]) {
            ("basename", [path]) => Some(base_name(path).to_owned() + "\n"),
            ("basename", [path, suffix]) => {
                let base = base_name(path);
                Some(base.strip_suffix(suffix).filter(|stem| !stem.is_empty()).unwrap_or(base).to_owned() + "\n")
            }
            ("dirname", [path]) => Some(directory_name(path) + "\n"),
            ("seq", _) => sequence(&texts),
            ("cat", [] | ["-"]) => Some(self.all_input()?),
            ("rev", []) => Some(self.by_line(|line| line.chars().rev().collect())?),
            ("tr", _) => match Translation::new(&texts) {
                Some(translation) => {
                    let text = self.all_input()?;
                    Some(translation.apply(&text))
                }
                None => None,
            },
            ("cut", _) => match Cut::new(&texts) {
                Some(cut) => Some(self.by_line(|line| cut.apply(line))?),
                None => None,
            },
            ("head" | "tail", _) => match line_count(&texts) {
                Some(count) => {
                    let text = self.all_input()?;
                    let lines: Vec<&str> = text.split_inclusive('\n').collect();
                    let chosen = if name == "head" {
                        &lines[..count.min(lines.len())]
                    } else {
                        &lines[lines.len().saturating_sub(count)..]
                    };
                    Some(chosen.concat())
                }
                None => None,
            },
            ("sed", _) => match Substitution::all(&texts) {
                Some(substitutions) => Some(self.sed(&substitutions)?),
                None => None,
            },
            _ => None,
        };
        match result {
            Some(text) => {
                self.print(&text)?;
                self.status = Some(0);
                Ok(())
            }
            None => self.unknown_command(name),
        }
    }

    fn all_input(&mut self) -> Result<String, Stop> {
        let text = match &mut self.input {
            Some(input) => input.rest()?,
            None => return Err(Stop::Unknown(self.need("what is read from outside"))),
        };
        self.budget.spend(text.len())?;
        Ok(text)
    }

    fn by_line(&mut self, change: impl Fn(&str) -> String) -> Result<String, Stop> {
        let text = self.all_input()?;
        let mut out = String::new();
        for line in text.lines() {
            self.budget.step()?;
            out.push_str(&change(line));
            out.push('\n');
        }
        Ok(out)
    }

    fn sed(&mut self, substitutions: &[Substitution]) -> Result<String, Stop> {
        let text = self.all_input()?;
        let mut out = String::new();
        for line in text.split_inclusive('\n') {
            let (line, end) = match line.strip_suffix('\n') {
                Some(line) => (line, "\n"),
                None => (line, ""),
            };
            let mut chars: Vec<char> = line.chars().collect();
            for substitution in substitutions {
                match substitution.apply(&chars, &mut self.budget) {
                    Some(changed) => chars = changed,
                    None => return Err(self.budget.exhausted("an expression takes too many steps")),
                }
                self.budget.spend(chars.len())?;
            }
            out.extend(chars);
            out.push_str(end);
        }
        Ok(out)
    }
}

fn base_name(path: &str) -> &str {
    let plain = path.trim_end_matches('/');
    if plain.is_empty() && !path.is_empty() {
        return "/";
    }
    plain.rsplit('/').next().unwrap_or(plain)
}

fn directory_name(path: &str) -> String {
    let plain = path.trim_end_matches('/');
    match plain.rsplit_once('/') {
        Some((directory, _)) if directory.trim_end_matches('/').is_empty() => "/".to_owned(),
        Some((directory, _)) => directory.trim_end_matches('/').to_owned(),
        None if plain.is_empty() && !path.is_empty() => "/".to_owned(),
        None => ".".to_owned(),
    }
}

fn sequence(texts: &[&str]) -> Option<String> {
    let numbers: Vec<i64> = texts
        .iter()
        .map(|text| {
            text.parse()
                .ok()
                .filter(|_| !text.starts_with('+') && (*text == "0" || !text.trim_start_matches('-').starts_with('0')))
        })
        .collect::<Option<_>>()?;
    let (from, step, to) = match numbers[..] {
        [to] => (1, 1, to),
        [from, to] => (from, 1, to),
        [from, step, to] if step != 0 => (from, step, to),
        _ => return None,
    };
    let count = (to.checked_sub(from)? / step).max(-1) + 1;
    if !(0..=100_000).contains(&count) {
        return None;
    }
    let numbers: Vec<String> = (0..=count)
        .map(|index| if index < count { (from + index * step).to_string() } else { String::new() })
        .collect();
    Some(numbers.join("\n"))
}

fn line_count(texts: &[&str]) -> Option<usize> {
    match texts {
        [] => Some(10),
        ["-n", count] => count.parse().ok(),
        [flag] => {
            let count = flag.strip_prefix("-n").or_else(|| flag.strip_prefix('-'))?;
            count.parse().ok()
        }
        _ => None,
    }
}

/// `tr`.
struct Translation {
    delete: Option<Vec<char>>,
    map: HashMap<char, char>,
    squeeze: Vec<char>,
}

impl Translation {
    fn new(texts: &[&str]) -> Option<Self> {
        let none = || Self { delete: None, map: HashMap::new(), squeeze: Vec::new() };
        match texts {
            ["-d", set] => Some(Self { delete: Some(characters(set)?), ..none() }),
            ["-s", set] => Some(Self { squeeze: characters(set)?, ..none() }),
            ["-s", from, to] => {
                let squeeze = characters(to)?;
                Some(Self { squeeze, ..Self::new(&[from, to])? })
            }
            [from, to] if !from.starts_with('-') || from.len() == 1 => {
                let (from, to) = (characters(from)?, characters(to)?);
                let last = *to.last()?;
                let mut map = HashMap::new();
                for (index, c) in from.into_iter().enumerate() {
                    map.insert(c, to.get(index).copied().unwrap_or(last));
                }
                Some(Self { map, ..none() })
            }
            _ => None,
        }
    }

    fn apply(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut last = None;
        for c in text.chars() {
            if self.delete.as_ref().is_some_and(|set| set.contains(&c)) {
                continue;
            }
            let c = self.map.get(&c).copied().unwrap_or(c);
            if self.squeeze.contains(&c) && last == Some(c) {
                continue;
            }
            last = Some(c);
            out.push(c);
        }
        out
    }
}

/// The characters of a set of `tr`; nothing for what is beyond plain ASCII sets.
fn characters(set: &str) -> Option<Vec<char>> {
    if !set.is_ascii() {
        return None;
    }
    match set {
        "[:upper:]" => return Some(('A'..='Z').collect()),
        "[:lower:]" => return Some(('a'..='z').collect()),
        "[:digit:]" => return Some(('0'..='9').collect()),
        "[:space:]" => return Some(vec!['\t', '\n', '\u{b}', '\u{c}', '\r', ' ']),
        "[:blank:]" => return Some(vec!['\t', ' ']),
        _ if set.contains("[:") || set.contains("[=") || set.contains('*') => return None,
        _ => {}
    }
    let chars: Vec<char> = set.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let mut c = chars[at];
        if c == '\\' {
            at += 1;
            c = match chars.get(at) {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('\\') => '\\',
                Some(c) if !c.is_ascii_alphanumeric() => *c,
                _ => return None,
            };
        }
        if chars.get(at + 1) == Some(&'-') && at + 2 < chars.len() && chars[at + 2] != '\\' {
            if chars[at + 2] < c {
                return None;
            }
            out.extend(c..=chars[at + 2]);
            at += 3;
        } else {
            out.push(c);
            at += 1;
        }
    }
    Some(out)
}

/// `cut`.
struct Cut {
    delimiter: Option<char>,
    ranges: Vec<(usize, usize)>,
    only_delimited: bool,
}

impl Cut {
    fn new(texts: &[&str]) -> Option<Self> {
        let (mut delimiter, mut fields, mut columns, mut only_delimited) = ('\t', None, None, false);
        let mut rest = texts.iter();
        while let Some(text) = rest.next() {
            let mut value = |flag: &str| match text.strip_prefix(flag)? {
                "" => rest.next().map(|text| (*text).to_owned()),
                value => Some(value.to_owned()),
            };
            if *text == "-s" {
                only_delimited = true;
            } else if let Some(value) = value("-d") {
                let mut chars = value.chars();
                delimiter = chars.next().filter(char::is_ascii)?;
                if chars.next().is_some() {
                    return None;
                }
            } else if let Some(value) = value("-f") {
                fields = Some(value);
            } else if let Some(value) = value("-c") {
                columns = Some(value);
            } else {
                return None;
            }
        }
        let (list, delimiter) = match (fields, columns) {
            (Some(list), None) => (list, Some(delimiter)),
            (None, Some(list)) => (list, None),
            _ => return None,
        };
        let mut ranges = Vec::new();
        for part in list.split(',') {
            let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number > 0);
            ranges.push(match part.split_once('-') {
                Some(("", high)) => (1, number(high)?),
                Some((low, "")) => (number(low)?, usize::MAX),
                Some((low, high)) => (number(low)?, number(high)?),
                None => (number(part)?, number(part)?),
            });
        }
        Some(Self { delimiter, ranges, only_delimited })
    }

    fn apply(&self, line: &str) -> String {
        let chosen = |index: usize| self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&(index + 1)));
        match self.delimiter {
            None => line.chars().enumerate().filter(|(index, _)| chosen(*index)).map(|(_, c)| c).collect(),
            Some(delimiter) if !line.contains(delimiter) && !self.only_delimited => line.to_owned(),
            Some(delimiter) => {
                let fields: Vec<&str> = line
                    .split(delimiter)
                    .enumerate()
                    .filter(|(index, _)| chosen(*index))
                    .map(|(_, field)| field)
                    .collect();
                fields.join(&delimiter.to_string())
            }
        }
    }
}

/// One `s` of a `sed` script.
struct Substitution {
    regex: Regex,
    replacement: Vec<Piece>,
    global: bool,
}

enum Piece {
    Text(char),
    Group(usize),
}

impl Substitution {
    /// Reads the arguments of `sed`; nothing if they hold anything but plain substitutions.
    fn all(texts: &[&str]) -> Option<Vec<Self>> {
        let mut extended = false;
        let mut scripts = Vec::new();
        let mut rest = texts.iter();
        while let Some(text) = rest.next() {
            match *text {
                "-r" | "-E" | "--regexp-extended" => extended = true,
                "-e" | "--expression" => scripts.push(*rest.next()?),
                "-re" | "-Ee" => {
                    extended = true;
                    scripts.push(*rest.next()?);
                }
                script if scripts.is_empty() && !script.starts_with('-') => scripts.push(script),
                _ => return None,
            }
        }
        if scripts.is_empty() {
            return None;
        }
        let mut out = Vec::new();
        for script in scripts {
            let chars: Vec<char> = script.chars().collect();
            let mut at = 0;
            while at < chars.len() {
                if chars[at] == ';' || chars[at].is_whitespace() {
                    at += 1;
                    continue;
                }
                out.push(Self::one(&chars, &mut at, extended)?);
            }
        }
        Some(out)
    }

    fn one(chars: &[char], at: &mut usize, extended: bool) -> Option<Self> {
        if chars[*at] != 's' {
            return None;
        }
        let delimiter = *chars.get(*at + 1)?;
        if delimiter.is_alphanumeric() || delimiter == '\\' || delimiter.is_whitespace() {
            return None;
        }
        *at += 2;
        let mut part = || -> Option<String> {
            let mut out = String::new();
            let mut bracket = false;
            loop {
                let c = *chars.get(*at)?;
                *at += 1;
                if c == '\\' {
                    let next = *chars.get(*at)?;
                    *at += 1;
                    if next == '\n' {
                        return None;
                    }
                    if next != delimiter || "|.*+?()[]{}^$".contains(delimiter) {
                        if next == delimiter {
                            return None;
                        }
                        out.push('\\');
                    }
                    out.push(next);
                    continue;
                }
                if c == '[' {
                    bracket = true;
                } else if c == ']' {
                    bracket = false;
                } else if c == delimiter {
                    // GNU sed looks for the delimiter before it looks for brackets.
                    if bracket {
                        return None;
                    }
                    return Some(out);
                }
                out.push(c);
            }
        };
        let (pattern, replacement) = (part()?, part()?);
        let mut global = false;
        while let Some(c) = chars.get(*at) {
            match c {
                'g' => global = true,
                ';' => break,
                c if c.is_whitespace() => {}
                _ => return None,
            }
            *at += 1;
        }
        let pattern = if extended { pattern } else { to_extended(&pattern)? };
        if pattern.is_empty() {
            return None;
        }
        Some(Self { regex: Regex::new(&pattern)?, replacement: pieces(&replacement)?, global })
    }

    fn apply(&self, chars: &[char], budget: &mut super::budget::Budget) -> Option<Vec<char>> {
        let mut out = Vec::new();
        let mut at = 0;
        let mut after_match = false;
        while at <= chars.len() {
            let Some(groups) = self.regex.find_from(chars, at, budget).ok()? else { break };
            let (from, to) = groups[0].unwrap_or((at, at));
            out.extend(&chars[at..from]);
            // An empty match right behind a match is none.
            if !(from == to && after_match && from == at) {
                budget.spend(self.replacement.len()).ok()?;
                for piece in &self.replacement {
                    match piece {
                        Piece::Text(c) => out.push(*c),
                        Piece::Group(number) => {
                            if let Some((from, to)) = groups.get(*number).copied().flatten() {
                                budget.spend(to - from).ok()?;
                                out.extend(&chars[from..to]);
                            }
                        }
                    }
                }
            }
            after_match = true;
            at = to;
            if from == to {
                out.extend(chars.get(at));
                at += 1;
                after_match = false;
            }
            if !self.global {
                break;
            }
        }
        out.extend(chars.get(at..).unwrap_or_default());
        Some(out)
    }
}

/// A basic expression as an extended one.
fn to_extended(pattern: &str) -> Option<String> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        match c {
            '\\' => {
                at += 1;
                match *chars.get(at)? {
                    next @ ('(' | ')' | '{' | '}' | '+' | '?' | '|') => out.push(next),
                    next if next.is_alphanumeric() => return None,
                    next => {
                        out.push('\\');
                        out.push(next);
                    }
                }
            }
            '(' | ')' | '{' | '}' | '+' | '?' | '|' => {
                out.push('\\');
                out.push(c);
            }
            '*' if out.is_empty() || out.ends_with('(') || out == "^" => out.push_str("\\*"),
            '^' if !(out.is_empty() || out.ends_with('(') || out.ends_with('|')) => out.push_str("\\^"),
            '$' if at + 1 < chars.len() && !matches!(chars[at + 1..], ['\\', ')' | '|', ..]) => out.push_str("\\$"),
            '[' => {
                let mut end = at + 1;
                if chars.get(end) == Some(&'^') {
                    end += 1;
                }
                if chars.get(end) == Some(&']') {
                    end += 1;
                }
                while *chars.get(end)? != ']' {
                    if chars[end] == '[' && chars.get(end + 1) == Some(&':') {
                        end += 2;
                        while *chars.get(end)? != ':' {
                            end += 1;
                        }
                        end += 1;
                    }
                    end += 1;
                }
                out.extend(&chars[at..=end]);
                at = end;
            }
            c => out.push(c),
        }
        at += 1;
    }
    Some(out)
}

fn pieces(replacement: &str) -> Option<Vec<Piece>> {
    let mut out = Vec::new();
    let mut chars = replacement.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '&' => Piece::Group(0),
            '\\' => match chars.next()? {
                digit @ '0'..='9' => Piece::Group(digit as usize - '0' as usize),
                'n' => Piece::Text('\n'),
                't' => Piece::Text('\t'),
                next if next.is_alphanumeric() => return None,
                next => Piece::Text(next),
            },
            c => Piece::Text(c),
        });
    }
    Some(out)
}
