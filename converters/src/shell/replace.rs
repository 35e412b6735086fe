// converters/src/shell/replace.rs
//! `${name/pattern/text}` in all its forms.

use super::budget::Spent;
use super::evaluate::{Evaluator, Stop};
use super::expand::Mode;
use super::fields::Bit;
use super::parse::Parser;
use super::pattern::Pattern;

/// What stands behind `${name/`.
pub(super) struct Replacement {
    /// `/` for all matches, `#` and `%` for one at the start or end, a blank for the first.
    kind: char,
    pattern: Pattern,
    /// What is put there: `&` is the match, a backslash protects.
    text: String,
    /// What the whole text must match before anything is looked for.
    first: Option<Pattern>,
    /// Whether it may match nothing at the text's end: bash lets only a star do so.
    at_end: bool,
}

impl Evaluator<'_> {
    /// Takes the text behind `${name/` apart.
    pub(super) fn replacement(&mut self, text: &str) -> Result<Replacement, Stop> {
        let mut parser = Parser::new(text, self.line);
        // A slash in front says that all are replaced, and one behind it belongs to the pattern.
        if parser.peek() == Some(b'/') {
            parser.at += 1 + usize::from(text[1..].starts_with('/'));
        }
        while parser.at < text.len() && parser.peek() != Some(b'/') {
            parser.skip_one(false)?;
        }
        let pattern = self.pattern_string(&text[..parser.at])?;
        // What is quoted asks for nothing; what an expansion gave does.
        let asks = !text.starts_with(['\'', '"', '\\']);
        let (kind, pattern) = match pattern.chars().next() {
            // That all are replaced is asked for by the text alone.
            Some('/') if text.starts_with('/') => ('/', &pattern[1..]),
            Some(c @ ('#' | '%')) if asks => (c, &pattern[1..]),
            _ => (' ', &pattern[..]),
        };
        // Bash first asks whether the text matches with stars around the pattern, and a backslash at the pattern's end makes the star
        // behind it a character. One backslash alone, which only a variable can give, is found nowhere.
        let backslashes = pattern.len() - pattern.trim_end_matches('\\').len();
        let extended = self.switches.extglob;
        let mut first = None;
        if backslashes % 2 == 1 && (kind != '%' || pattern.len() == 1) {
            let start = if kind == '#' || pattern.starts_with('*') { "" } else { "*" };
            let all = if pattern.len() == 1 { "!(*)".to_owned() } else { format!("{start}{pattern}*") };
            first = Some(Pattern::new(&all, extended || pattern.len() == 1, &mut self.budget)?);
        }
        // So a group that must be there, and is not tried behind a text's end, is not found there.
        if kind == '%' && extended && ["!(", "@(", "+("].iter().any(|group| pattern.starts_with(group)) {
            first = Some(Pattern::new(&format!("*{pattern}"), true, &mut self.budget)?);
        }
        // It puts none around a pattern that has them, and takes a last one that is quoted for such.
        let stars = pattern.strip_suffix('*').is_some_and(|before| {
            let grouped = extended && pattern.starts_with("*(");
            let backslashes = before.len() - before.trim_end_matches('\\').len();
            pattern.starts_with('*') && !grouped && backslashes % 2 == 1
        });
        if stars {
            first = Some(Pattern::new(pattern, extended, &mut self.budget)?);
        }
        let at_end = pattern.is_empty() || pattern.starts_with('*');
        let pattern = Pattern::new(pattern, extended, &mut self.budget)?;
        let replacement = text.get(parser.at + 1..).unwrap_or_default();
        let mut bits = Vec::new();
        self.bits(replacement, Mode::Word, &mut bits)?;
        let mut with_marks = String::new();
        for bit in bits {
            match bit {
                Bit::Quoted(text) => {
                    for c in text.chars() {
                        if c == '&' || c == '\\' {
                            with_marks.push('\\');
                        }
                        with_marks.push(c);
                    }
                }
                bit => with_marks.push_str(bit.text()),
            }
        }
        Ok(Replacement { kind, pattern, text: with_marks, first, at_end })
    }

    pub(super) fn replace(&mut self, text: &str, by: &Replacement) -> Result<String, Stop> {
        let chars: Vec<char> = text.chars().collect();
        let mut out = String::new();
        let mut at = 0;
        let Replacement { kind, pattern, text: replacement, first, at_end } = by;
        let kind = *kind;
        if let Some(first) = first
            && !self.matches(first, &chars)?
        {
            return Ok(text.to_owned());
        }
        if pattern.literal().is_some_and(<[char]>::is_empty) && !matches!(kind, '#' | '%') {
            return Ok(text.to_owned());
        }
        if kind == '%' {
            return match pattern.suffix(&chars, true, &mut self.budget) {
                Ok(Some(start)) => {
                    out.extend(&chars[..start]);
                    self.put_replacement(replacement, &chars[start..], &mut out)?;
                    Ok(out)
                }
                Ok(None) => Ok(text.to_owned()),
                Err(Spent) => Err(self.budget.exhausted("a pattern takes too many steps")),
            };
        }
        while at < chars.len() || (at == chars.len() && *at_end) {
            let found = pattern.prefix(&chars[at..], true, &mut self.budget);
            let Ok(found) = found else {
                return Err(self.budget.exhausted("a pattern takes too many steps"));
            };
            match found {
                Some(length) => {
                    self.put_replacement(replacement, &chars[at..at + length], &mut out)?;
                    at += length;
                    if kind != '/' {
                        break;
                    }
                    if length == 0 {
                        // Behind an empty match the next character is passed over; the end has none.
                        out.extend(chars.get(at));
                        at += 1;
                    }
                    if at >= chars.len() {
                        break;
                    }
                }
                _ if kind == '#' => break,
                _ => {
                    let Some(c) = chars.get(at) else { break };
                    out.push(*c);
                    at += 1;
                }
            }
        }
        out.extend(chars.get(at..).unwrap_or_default());
        Ok(out)
    }

    /// Puts a replacement in place of a match: `&` is the match, a backslash protects.
    fn put_replacement(&mut self, replacement: &str, matched: &[char], out: &mut String) -> Result<(), Stop> {
        self.budget.spend(replacement.len() + matched.len())?;
        let mut chars = replacement.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some(next @ ('&' | '\\')) => out.push(next),
                    Some(next) => {
                        out.push('\\');
                        out.push(next);
                    }
                    None => out.push('\\'),
                },
                '&' => {
                    self.budget.spend(matched.len())?;
                    out.extend(matched);
                }
                c => out.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::shell::evaluate::held;

    #[test]
    fn replacements_are_those_of_bash() {
        let cases = [
            ("a=a.b.c; x=${a/./_}", "a_b.c"),
            ("a=a.b.c; x=${a//./}", "abc"),
            ("a=aXbX; x=${a/%X/-}", "aXb-"),
            ("a=XaX; x=${a/#X/-}", "-aX"),
            ("a=abc; x=${a/b/[&]}", "a[b]c"),
            ("a=abc; x=${a/b/\\&}", "a&c"),
            ("a=abc; x=${a/'b'/\"&\"}", "a&c"),
            ("a=/usr/lib; x=${a//\\//:}", ":usr:lib"),
            ("a=; x=${a/#/p}", "p"),
            ("a='fix-*F'; x=${a/*'*'/p}", "fix-*F"),
            ("a='fix-*'; x=${a/*'*'/p}", "p"),
            ("a='ab*c'; x=${a/b'*'/p}", "apc"),
            ("shopt -s extglob; a=; x=[${a/#!(b)/p}]", "[]"),
            // A backslash alone, from a variable, is found nowhere; one that is quoted is.
            ("b='\\'; a='c\\d'; x=${a/$b/_}", "c\\d"),
            ("b='\\'; a='c\\d'; x=${a/\"$b\"/_}", "c_d"),
        ];
        for (text, expected) in cases {
            assert_eq!(held(text, "x"), [expected], "{text}");
        }
    }
}
