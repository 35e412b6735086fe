// kitchen/src/fetch/git/attributes.rs
//! What `.gitattributes` files say of a path, as far as archives are made by it.
//!
//! A line is a pattern and attributes; the last line that matches counts, and a file further down outranks those above it. Patterns are those of
//! `.gitignore` without exceptions. `text`, `eol`, the older `crlf` and the macro `binary` decide about line ends, `ident`, `export-ignore`, `export-subst`
//! and `working-tree-encoding` speak for themselves; all others, filters among them, change no archive that is made without a configuration.

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::Id;

/// What is said of one path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is an attribute of git's")]
pub(super) struct Attributes {
    pub(super) export_ignore: bool,
    pub(super) export_subst: bool,
    pub(super) ident: bool,
    pub(super) encoding: bool,
    text: Option<Text>,
    crlf: bool,
}

/// Whether a file is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Yes,
    No,
    Auto,
}

impl Attributes {
    /// The content with the line ends that a checkout would have.
    pub(super) fn with_line_ends(&self, content: Vec<u8>) -> Vec<u8> {
        if !self.crlf || self.text == Some(Text::No) || (self.text == Some(Text::Auto) && !is_plain_text(&content)) {
            return content;
        }
        let mut out = Vec::with_capacity(content.len());
        let mut before = 0;
        for byte in content {
            if byte == b'\n' && before != b'\r' {
                out.push(b'\r');
            }
            out.push(byte);
            before = byte;
        }
        out
    }

    fn set(&mut self, word: &str) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, value),
            None if word.starts_with('-') => (&word[1..], "-"),
            None if word.starts_with('!') => (&word[1..], "!"),
            None => (word, "+"),
        };
        let on = value == "+";
        match name {
            "export-ignore" => self.export_ignore = on,
            "export-subst" => self.export_subst = on,
            "ident" => self.ident = on,
            "working-tree-encoding" => self.encoding = !matches!(value, "-" | "!" | "+"),
            "binary" if on => self.text = Some(Text::No),
            "text" | "crlf" => {
                self.text = match value {
                    "+" | "input" => Some(Text::Yes),
                    "-" => Some(Text::No),
                    "auto" => Some(Text::Auto),
                    _ => None,
                };
            }
            "eol" => self.crlf = value == "crlf",
            _ => {}
        }
    }
}

/// Whether git takes content for text whose line ends it may change.
fn is_plain_text(content: &[u8]) -> bool {
    let (mut printable, mut others) = (0_usize, 0_usize);
    for (at, byte) in content.iter().enumerate() {
        match byte {
            // A carriage return anywhere: it has line ends of its own.
            0 | b'\r' => return false,
            b'\n' => {}
            0x08 | b'\t' | 0x1b | 0x0c => printable += 1,
            0x1a if at + 1 == content.len() => {}
            0x7f | 0x01..=0x1f => others += 1,
            _ => printable += 1,
        }
    }
    printable >> 7 >= others
}

/// The files from the top of a tree down to where the walk is.
#[derive(Default)]
pub(super) struct Levels(Vec<(usize, Vec<Line>)>);

/// A pattern, and the attributes of what it matches.
type Line = (Gitignore, Vec<String>);

impl Levels {
    /// Goes into a directory, whose path ends with a slash, with its `.gitattributes`.
    pub(super) fn enter(&mut self, below: &[u8], text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        self.0.push((below.len(), text.lines().filter_map(line).collect()));
    }

    pub(super) fn leave(&mut self) {
        self.0.pop();
    }

    /// What is said of a path from the top.
    pub(super) fn of(&self, path: &[u8], is_directory: bool) -> Attributes {
        let mut attributes = Attributes::default();
        for (length, lines) in &self.0 {
            let inner = String::from_utf8_lossy(&path[*length..]);
            for (pattern, words) in lines {
                if pattern.matched(inner.as_ref(), is_directory).is_ignore() {
                    for word in words {
                        attributes.set(word);
                    }
                }
            }
        }
        attributes
    }
}

/// The pattern and the attributes of a line.
fn line(text: &str) -> Option<Line> {
    let text = text.trim();
    if text.is_empty() || text.starts_with(['#', '!']) || text.starts_with("[attr]") {
        return None;
    }
    let (pattern, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => text.split_once([' ', '\t'])?,
    };
    let mut builder = GitignoreBuilder::new("");
    builder.add_line(None, pattern).ok()?;
    Some((builder.build().ok()?, rest.split_ascii_whitespace().map(str::to_owned).collect()))
}

/// A file with `export-subst`: what `$Format:…$` asks of the commit. Nothing where that is more than the commit says.
pub(super) fn substituted(content: &[u8], id: Id, tree: Id, commit: &[u8]) -> Option<Vec<u8>> {
    const START: &[u8] = b"$Format:";
    let mut out = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.windows(START.len()).position(|part| part == START) {
        let format = &rest[at + START.len()..];
        let Some(end) = format.iter().position(|byte| *byte == b'$') else { break };
        out.extend_from_slice(&rest[..at]);
        out.extend(formatted(std::str::from_utf8(&format[..end]).ok()?, id, tree, commit)?.into_bytes());
        rest = &format[end + 1..];
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// A pretty format with the placeholders that only the commit answers. Names of objects are not shortened.
fn formatted(format: &str, id: Id, tree: Id, commit: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(commit).ok()?;
    let (head, message) = text.split_once("\n\n").unwrap_or((text, ""));
    let header = |key: &str| head.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let parents: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix("parent ")).collect();
    let mut out = String::new();
    let mut rest = format;
    while let Some((before, behind)) = rest.split_once('%') {
        out.push_str(before);
        let mut chars = behind.chars();
        let taken = match chars.next()? {
            'H' | 'h' => id.to_string(),
            'T' | 't' => tree.to_string(),
            'P' | 'p' => parents.join(" "),
            'n' => "\n".to_owned(),
            '%' => "%".to_owned(),
            's' => {
                message.trim_start_matches('\n').split("\n\n").next().unwrap_or_default().trim_end().replace('\n', " ")
            }
            who @ ('a' | 'c') => {
                let line = header(if who == 'a' { "author" } else { "committer" })?;
                let (name, rest) = line.split_once(" <")?;
                let (mail, time) = rest.split_once("> ")?;
                let (seconds, zone) = time.split_once(' ')?;
                match chars.next()? {
                    'n' => name.to_owned(),
                    'e' => mail.to_owned(),
                    't' => seconds.to_owned(),
                    'I' => moment(seconds.parse().ok()?, zone, true)?,
                    'i' => moment(seconds.parse().ok()?, zone, false)?,
                    _ => return None,
                }
            }
            _ => return None,
        };
        out.push_str(&taken);
        rest = chars.as_str();
    }
    out.push_str(rest);
    Some(out)
}

/// A time with its zone, as `%cI` (strict) or `%ci` prints it.
fn moment(seconds: i64, zone: &str, strict: bool) -> Option<String> {
    let (sign, digits) = (zone.get(..1)?, zone.get(1..)?);
    let offset: i64 = digits.parse().ok()?;
    let minutes = (offset / 100 * 60 + offset % 100) * if sign == "-" { -1 } else { 1 };
    let local = seconds + minutes * 60;
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    // Years that begin in March, in cycles of 400 of them, as leap days recur.
    let shifted = days + 719_468;
    let (cycle, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let march_year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * march_year + march_year / 4 - march_year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = march_year + cycle * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    Some(if strict {
        let zone =
            if minutes == 0 { "Z".to_owned() } else { format!("{sign}{}:{}", digits.get(..2)?, digits.get(2..)?) };
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}")
    } else {
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} {zone}")
    })
}
