// converters/src/shell/fields.rs
//! From expanded pieces to words: splitting at blanks, and file names for patterns.

use super::evaluate::{Evaluator, Stop};
use super::pattern::Pattern;

/// A piece of an expanded word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bit {
    /// Quoted: neither split nor a pattern.
    Quoted(String),
    /// Written without quotes: a pattern, but not split.
    Bare(String),
    /// The result of an expansion without quotes: split, and a pattern.
    Open(String),
    /// A border between the elements of a list, with what joins them where nothing is split.
    Border(String),
    /// A list with a star and an operator, in quotes: its elements, and what they are when joined.
    Star(Vec<String>, String),
    /// A list without elements, in quotes.
    Nothing,
    /// An empty text that is a word of its own even beside such a list.
    Solid,
}

impl Bit {
    /// Its text, if it has one.
    pub fn text(&self) -> &str {
        match self {
            Self::Quoted(text) | Self::Bare(text) | Self::Open(text) | Self::Border(text) | Self::Star(_, text) => text,
            Self::Nothing | Self::Solid => "",
        }
    }
}

/// Joins pieces where nothing is split.
pub(crate) fn joined(bits: &[Bit]) -> String {
    bits.iter().map(Bit::text).collect()
}

/// Joins pieces to a pattern, in which what was quoted stands for itself. There is none where a backslash that comes from an
/// expansion stands before a quoted star or its like: bash has such a pattern match now one thing and now another.
pub(crate) fn pattern_text(bits: &[Bit]) -> Option<String> {
    let mut out = String::new();
    for bit in bits {
        match bit {
            Bit::Quoted(text) | Bit::Star(_, text) => {
                if text.starts_with(SPECIAL) && ends_in_backslash(&out) {
                    return None;
                }
                escape(text, &mut out);
            }
            bit => out.push_str(bit.text()),
        }
    }
    Some(out)
}

/// What means something in a pattern.
const SPECIAL: [char; 13] = ['\\', '*', '?', '[', ']', '(', ')', '|', '+', '@', '!', '^', '-'];

/// Says whether a text ends in a backslash that no other one stands before.
pub(super) fn ends_in_backslash(text: &str) -> bool {
    (text.len() - text.trim_end_matches('\\').len()) % 2 == 1
}

/// Adds a text that was quoted to a pattern. A backslash before it that comes from an expansion stands for itself then.
fn escape(text: &str, out: &mut String) {
    if !text.is_empty() && ends_in_backslash(out) {
        out.push('\\');
    }
    for c in text.chars() {
        if SPECIAL.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
}

/// A word in the making: its text, the pattern it may be, and whether it exists even if empty.
#[derive(Default)]
struct Field {
    text: String,
    pattern: String,
    active: bool,
    exists: bool,
}

impl Field {
    fn quoted(&mut self, text: &str) {
        self.text.push_str(text);
        escape(text, &mut self.pattern);
        self.exists = true;
    }

    fn open(&mut self, text: &str) {
        self.text.push_str(text);
        self.pattern.push_str(text);
        self.active |= text.contains(['*', '?', '[']);
        self.exists = true;
    }
}

/// Says whether a list without quotes has an element of which nothing is left where bash splits the list and joins it anew.
pub(super) fn has_empty_element(bits: &[Bit]) -> bool {
    bits.windows(2).any(|pair| match pair {
        [Bit::Open(text), Bit::Border(_)] | [Bit::Border(_), Bit::Open(text)] => text.is_empty(),
        _ => false,
    })
}

/// Says whether a piece is the border between elements that nothing separates, as `IFS` is empty.
pub(super) fn is_blank_border(bit: &Bit) -> bool {
    matches!(bit, Bit::Border(joint) if joint.is_empty())
}

impl Evaluator<'_> {
    /// Splits pieces into words and looks for files that match.
    pub(super) fn split(&mut self, bits: Vec<Bit>) -> Result<Vec<String>, Stop> {
        let separators = match self.lookup("IFS")? {
            Some(variable) => variable.value.first().unwrap_or_default().to_owned(),
            None => " \t\n".to_owned(),
        };
        let first = separators.chars().next();
        if bits.iter().any(is_blank_border)
            && bits.iter().any(|bit| !is_blank_border(bit) && !matches!(bit, Bit::Open(_)))
        {
            // Bash makes words of its elements, or one of all, by what the text around a substitution is.
            return Err(Stop::Unknown(self.need("a list beside other text where IFS is empty")));
        }
        let mut done = Vec::new();
        let mut field = Field::default();
        let mut bits = bits.into_iter().peekable();
        while let Some(bit) = bits.next() {
            match bit {
                Bit::Quoted(text) | Bit::Star(_, text) => field.quoted(&text),
                Bit::Bare(text) => field.open(&text),
                Bit::Border(_) => {
                    if field.exists {
                        done.push(std::mem::take(&mut field));
                    }
                }
                Bit::Nothing => {}
                Bit::Solid => field.exists = true,
                Bit::Open(mut text) => {
                    // Bash joins the elements of a list with the first separator, and results that stand beside one another with nothing,
                    // and splits the whole: a blank at the end of one and a separator at the beginning of the next are one border.
                    while let Some(next) = bits.next_if(|next| match next {
                        Bit::Open(_) => true,
                        Bit::Border(_) => first.is_some(),
                        _ => false,
                    }) {
                        match next {
                            Bit::Open(next) => text.push_str(&next),
                            _ => text.extend(first),
                        }
                    }
                    split_open(&text, &separators, &mut field, &mut done);
                }
            }
        }
        if field.exists {
            done.push(field);
        }
        let mut words = Vec::with_capacity(done.len());
        for field in done {
            self.budget.spend(field.text.len())?;
            let extended = self.switches.extglob
                && ["?(", "*(", "+(", "@(", "!("].iter().any(|start| field.pattern.contains(start));
            if field.active || extended {
                self.files(field, &mut words)?;
            } else {
                words.push(field.text);
            }
        }
        Ok(words)
    }

    /// Adds the files that match a word, or the word if there are none.
    fn files(&mut self, field: Field, words: &mut Vec<String>) -> Result<(), Stop> {
        let pattern = Pattern::new(&field.pattern, self.switches.extglob, &mut self.budget)?;
        if pattern.literal().is_some() {
            words.push(field.text);
            return Ok(());
        }
        if field.text.split('/').next().is_some_and(|first| first.ends_with(':') && !first.contains(['*', '?', '['])) {
            // An address: no directory is named `https:`.
            words.push(field.text);
            return Ok(());
        }
        let Some(names) = (self.names)() else {
            return Err(Stop::Unknown(self.need(format!("the files that match `{}`", field.text))));
        };
        // A backslash before a border between names says nothing, nor before a point.
        let bare = without_backslashes(&field.pattern);
        let first = field.pattern.replace("\\/", "/");
        let first = first.split('/').next().unwrap_or_default();
        let below = bare.contains('/');
        if matches!(bare.split('/').next(), Some("" | "." | "..")) {
            return Err(Stop::Unknown(self.need(format!("the files that match `{}`", field.text))));
        }
        let head = Pattern::new(first, self.switches.extglob, &mut self.budget)?;
        let mut found = Vec::new();
        for name in &names {
            let chars: Vec<char> = name.chars().collect();
            let hidden = name.starts_with('.') && !first.strip_prefix('\\').unwrap_or(first).starts_with('.');
            if !hidden && self.matches(&head, &chars)? {
                found.push(name.clone());
            }
        }
        if below && !found.is_empty() {
            return Err(Stop::Unknown(self.need(format!("the files that match `{}`", field.text))));
        }
        if found.is_empty() {
            if !self.switches.nullglob {
                words.push(field.text);
            }
            return Ok(());
        }
        found.sort();
        words.extend(found);
        Ok(())
    }
}

/// A pattern without what escapes its characters.
fn without_backslashes(pattern: &str) -> String {
    let mut chars = pattern.chars();
    let next = || match chars.next() {
        Some('\\') => Some(chars.next().unwrap_or('\\')),
        next => next,
    };
    std::iter::from_fn(next).collect()
}

/// Splits the result of an expansion at the separators.
fn split_open(text: &str, separators: &str, field: &mut Field, done: &mut Vec<Field>) {
    if separators.is_empty() {
        if !text.is_empty() {
            field.open(text);
        }
        return;
    }
    let is_blank = |c: char| separators.contains(c) && " \t\n".contains(c);
    let mut chars = text.chars().peekable();
    let mut run = String::new();
    while let Some(c) = chars.next() {
        if !separators.contains(c) {
            run.push(c);
            continue;
        }
        if !run.is_empty() {
            field.open(&std::mem::take(&mut run));
        }
        if is_blank(c) {
            while chars.peek().is_some_and(|next| is_blank(*next)) {
                chars.next();
            }
            // Blanks around another separator belong to it.
            let hard = chars.peek().is_some_and(|next| separators.contains(*next));
            if hard {
                continue;
            }
            if field.exists {
                done.push(std::mem::take(field));
            }
        } else {
            field.exists = true;
            done.push(std::mem::take(field));
            while chars.peek().is_some_and(|next| is_blank(*next)) {
                chars.next();
            }
        }
    }
    if !run.is_empty() {
        field.open(&run);
    }
}

#[cfg(test)]
mod tests {
    use crate::shell::budget::Budget;
    use crate::shell::evaluate::{Evaluator, held};
    use crate::shell::state::Value;

    #[test]
    fn a_pattern_from_the_root_is_not_looked_for_whatever_escapes_it() {
        let names = || Some(vec!["etc".to_owned(), r"\".to_owned(), ".hid".to_owned()]);
        for pattern in [r"\/", r"\.\/", r"./", r"\.\./", "/"] {
            let mut shell = Evaluator::new(Budget::default(), &names);
            shell.run(&format!("z='{pattern}'; x=(${{z}}*)"), 1).unwrap();
            assert!(matches!(shell.variable("x").unwrap().value, Value::Unknown(_)), "{pattern}");
        }
        for (pattern, found) in [(r"\", r"\"), (r"\.h*", ".hid"), (r"\e*", "etc"), (r"e\t*", "etc"), (r"\x/*", r"\x/*")]
        {
            let mut shell = Evaluator::new(Budget::default(), &names);
            shell.run(&format!("z='{pattern}'; x=($z)"), 1).unwrap();
            assert_eq!(shell.variable("x").unwrap().value.elements(), [found], "{pattern}");
        }
    }

    #[test]
    fn what_stands_side_by_side_is_split_as_one() {
        let cases: [(&str, &[&str]); 11] = [
            ("IFS=' :'; l=(0 : '!' +); x=(${l[@]})", &["0", "!", "+"]),
            ("IFS=' :'; l=(: a); x=(${l[@]})", &["", "a"]),
            ("IFS=': '; l=('a ' b '' c : d); x=(${l[*]})", &["a", "b", "", "c", "", "", "d"]),
            ("IFS='x:'; l=('a ' b '' c); x=(${l[@]})", &["a ", "b", "", "c"]),
            ("IFS=' :'; a='x '; b=':y'; x=($a$b)", &["x", "y"]),
            ("IFS=' :'; a='x '; b=':y'; x=($a''$b)", &["x", "", "y"]),
            ("l=(a '' b); x=(${l[@]})", &["a", "b"]),
            ("l=(a '' b); x=(\"${l[@]}\")", &["a", "", "b"]),
            ("l=(''); x=(\"${e[@]}${l[@]}\" k)", &["", "k"]),
            ("l=(''); x=(\"${l[*]}${e[@]}\" k)", &["", "k"]),
            ("x=(\"${e[*]}${e[@]}\" k)", &["k"]),
        ];
        for (text, expected) in cases {
            assert_eq!(held(text, "x"), expected, "{text}");
        }
    }
}
