// converters/src/shell/expand.rs
//! Expansion of words: quotes, parameters, substitutions, arithmetic, and then fields.

use super::evaluate::{Evaluator, Missing, Stop};
use super::fields::{Bit, is_blank_border, joined, pattern_text};
use super::parse::Parser;
use super::pattern::Pattern;
use super::quoting::{Escapes, unescape};
use super::syntax::Word;
use super::{braces, words};

/// How the text of a word is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As a word.
    Word,
    /// As the inside of double quotes.
    Double,
    /// As a here-document, where a double quote is a character.
    Document,
    /// As the word behind `${name:-` in double quotes, where double quotes may open again.
    Nested,
}

impl Evaluator<'_> {
    /// The words of a list of words.
    pub(crate) fn fields_of(&mut self, list: &[Word]) -> Result<Vec<String>, Stop> {
        let (mut fields, mut missing) = (Vec::new(), Missing::default());
        for word in list {
            if word.elements.is_some() {
                return Err(Stop::Run(self.need("an array as an argument")));
            }
            fields.extend(missing.hold(self.fields(&word.text))?.unwrap_or_default());
        }
        missing.end()?;
        Ok(fields)
    }

    /// The words that one word becomes.
    pub(super) fn fields(&mut self, text: &str) -> Result<Vec<String>, Stop> {
        self.budget.step()?;
        if is_plain(text) {
            return Ok(vec![text.to_owned()]);
        }
        let (mut fields, mut missing) = (Vec::new(), Missing::default());
        for part in braces::expand(text, &mut self.budget)? {
            let mut bits = Vec::new();
            let part = self.bits(&part, Mode::Word, &mut bits).and_then(|()| self.split(bits));
            fields.extend(missing.hold(part)?.unwrap_or_default());
        }
        missing.end()?;
        Ok(fields)
    }

    /// A word where nothing is split, no braces are expanded and no files are looked for.
    pub(super) fn string(&mut self, text: &str) -> Result<String, Stop> {
        if is_plain(text) {
            return Ok(text.to_owned());
        }
        let mut bits = Vec::new();
        self.bits(text, Mode::Word, &mut bits)?;
        Ok(joined(&bits))
    }

    /// The value of an assignment: a tilde counts behind a colon as well.
    pub(super) fn assigned_string(&mut self, text: &str) -> Result<String, Stop> {
        if text.starts_with('~') || text.contains(":~") {
            return Err(Stop::Unknown(self.need("a home directory is not in the text")));
        }
        self.string(text)
    }

    /// The value of `declare name=value`: without separators, bash joins some lists with blanks and others with nothing.
    pub(super) fn declared_string(&mut self, text: &str) -> Result<String, Stop> {
        if text.starts_with('~') || text.contains(":~") || is_plain(text) {
            return self.assigned_string(text);
        }
        let mut bits = Vec::new();
        self.bits(text, Mode::Word, &mut bits)?;
        if bits.iter().any(is_blank_border) {
            return Err(Stop::Unknown(self.need("a list in a declaration where IFS is empty")));
        }
        Ok(joined(&bits))
    }

    /// The value of `[index]=value` in an array: without separators, blanks join a list that has no quotes.
    pub(super) fn element_string(&mut self, text: &str) -> Result<String, Stop> {
        if text.starts_with('~') || text.contains(":~") {
            return self.assigned_string(text);
        }
        let mut bits = Vec::new();
        self.bits(text, Mode::Word, &mut bits)?;
        Ok(bits.iter().map(|bit| if is_blank_border(bit) { " " } else { bit.text() }).collect())
    }

    /// A word as a pattern.
    pub(super) fn pattern(&mut self, text: &str) -> Result<Pattern, Stop> {
        let text = self.pattern_string(text)?;
        Pattern::new(&text, self.switches.extglob, &mut self.budget)
    }

    /// A word as the text of a pattern.
    pub(super) fn pattern_string(&mut self, text: &str) -> Result<String, Stop> {
        let mut bits = Vec::new();
        self.bits(text, Mode::Word, &mut bits)?;
        self.pattern_of(&bits)
    }

    /// Pieces as the text of a pattern.
    pub(super) fn pattern_of(&self, bits: &[Bit]) -> Result<String, Stop> {
        pattern_text(bits)
            .ok_or_else(|| Stop::Unknown(self.need("a backslash in a value before what a pattern quotes")))
    }

    /// A text as in a here-document or in arithmetic.
    pub(crate) fn document(&mut self, text: &str) -> Result<String, Stop> {
        if !text.contains(['$', '`', '\\']) {
            return Ok(text.to_owned());
        }
        let mut bits = Vec::new();
        let outside = std::mem::replace(&mut self.in_document, true);
        let expanded = self.bits(text, Mode::Document, &mut bits);
        self.in_document = outside;
        expanded?;
        Ok(joined(&bits))
    }

    /// Takes a text apart and expands what is in it.
    pub(super) fn bits(&mut self, text: &str, mode: Mode, out: &mut Vec<Bit>) -> Result<(), Stop> {
        self.deeper(|shell| shell.bits_inner(text, mode, out))
    }

    fn bits_inner(&mut self, text: &str, mode: Mode, out: &mut Vec<Bit>) -> Result<(), Stop> {
        let quoted = mode != Mode::Word;
        let mut parser = Parser::new(text, self.line);
        let (mut from, mut missing) = (0, Missing::default());
        let literal = |range: &str, out: &mut Vec<Bit>| {
            if !range.is_empty() {
                out.push(if quoted { Bit::Quoted(range.to_owned()) } else { Bit::Bare(range.to_owned()) });
            }
        };
        if mode == Mode::Word
            && text.starts_with('~')
            && text[1..].chars().next().is_none_or(|c| c == '/' || c.is_alphanumeric() || c == '+' || c == '-')
        {
            return Err(Stop::Unknown(self.need("a home directory is not in the text")));
        }
        while parser.at < text.len() {
            self.budget.step()?;
            let start = parser.at;
            let next = parser.byte(1);
            match parser.bytes[start] {
                b'\\' => {
                    let special = match mode {
                        Mode::Word => next.is_some(),
                        Mode::Double => matches!(next, Some(b'$' | b'`' | b'"' | b'\\' | b'\n')),
                        Mode::Nested => matches!(next, Some(b'$' | b'`' | b'"' | b'\\' | b'\n' | b'}')),
                        Mode::Document => matches!(next, Some(b'$' | b'`' | b'\\' | b'\n')),
                    };
                    parser.at += 1;
                    if special {
                        literal(&text[from..start], out);
                        let c = text[parser.at..].chars().next().unwrap_or('\\');
                        parser.at += c.len_utf8();
                        if c != '\n' {
                            out.push(Bit::Quoted(c.to_string()));
                        }
                        from = parser.at;
                    }
                }
                b'\'' if mode == Mode::Word => {
                    literal(&text[from..start], out);
                    parser.skip_one(false)?;
                    out.push(Bit::Quoted(text[start + 1..parser.at - 1].to_owned()));
                    from = parser.at;
                }
                b'"' if matches!(mode, Mode::Word | Mode::Nested) => {
                    literal(&text[from..start], out);
                    parser.skip_one(false)?;
                    let inner = &text[start + 1..parser.at - 1];
                    missing.hold(self.double(inner, out))?;
                    from = parser.at;
                }
                b'`' => {
                    literal(&text[from..start], out);
                    parser.skip_one(quoted)?;
                    let inner = without_backslashes(&text[start + 1..parser.at - 1], quoted);
                    let result = missing.hold(self.substitution(&inner))?.unwrap_or_default();
                    out.push(if quoted { Bit::Quoted(result) } else { Bit::Open(result) });
                    from = parser.at;
                }
                b'$' => {
                    if self.dollar_begins(next, mode) {
                        literal(&text[from..start], out);
                        missing.hold(self.dollar(&mut parser, mode, out))?;
                        from = parser.at;
                    } else {
                        parser.at += 1;
                    }
                }
                b'<' | b'>' if mode == Mode::Word && next == Some(b'(') => {
                    return Err(Stop::Unknown(self.need("a process substitution")));
                }
                _ => parser.at += 1,
            }
        }
        literal(&text[from..], out);
        missing.end()
    }

    /// The inside of double quotes: one word even if it is empty, unless it is so because a list in it is.
    fn double(&mut self, inner: &str, out: &mut Vec<Bit>) -> Result<(), Stop> {
        if inner.contains('@') && ["$((", "$[", "$#", "${#", "$?", "${?"].iter().any(|number| inner.contains(number)) {
            // Beside a list in the same quotes, bash 5.2 splits numbers as if they had none.
            let separators = self.lookup("IFS")?.and_then(|variable| variable.value.first()).unwrap_or_default();
            if separators.contains(|c: char| c == '-' || c.is_ascii_digit()) {
                return Err(Stop::Unknown(
                    self.need("a number beside a list in quotes where IFS holds digits or a minus"),
                ));
            }
        }
        let start = out.len();
        let before = std::mem::take(&mut self.has_spread);
        self.bits(inner, Mode::Double, out)?;
        let spreads = self.has_spread;
        self.has_spread |= before;
        for bit in out.split_off(start) {
            match bit {
                // Beside a list that is not joined, bash joins it and splits it again.
                Bit::Star(values, _) if spreads => {
                    let joint = self.joint()?;
                    for (index, value) in values.into_iter().enumerate() {
                        if index > 0 {
                            out.push(Bit::Border(joint.clone()));
                        }
                        if !value.is_empty() {
                            out.push(Bit::Quoted(value));
                        }
                    }
                }
                Bit::Star(_, text) => out.push(Bit::Quoted(text)),
                bit => out.push(bit),
            }
        }
        let empty =
            out[start..].iter().all(|bit| matches!(bit, Bit::Nothing | Bit::Quoted(_)) && bit.text().is_empty());
        if empty && out[start..].contains(&Bit::Nothing) {
            out.truncate(start);
        } else if out.len() == start {
            out.push(Bit::Quoted(String::new()));
        }
        Ok(())
    }

    /// Whether a dollar with this behind it begins an expansion.
    #[allow(clippy::unused_self, reason = "reads better beside its sister")]
    fn dollar_begins(&self, next: Option<u8>, mode: Mode) -> bool {
        match next {
            Some(b'(' | b'{' | b'[' | b'@' | b'*' | b'#' | b'?' | b'$' | b'!' | b'-') => true,
            Some(b'\'' | b'"') => mode == Mode::Word,
            Some(byte) => byte.is_ascii_alphanumeric() || byte == b'_',
            None => false,
        }
    }

    fn dollar(&mut self, parser: &mut Parser<'_>, mode: Mode, out: &mut Vec<Bit>) -> Result<(), Stop> {
        let quoted = mode != Mode::Word;
        let text = parser.text;
        let start = parser.at;
        let push = |result: String, out: &mut Vec<Bit>| {
            out.push(if quoted { Bit::Quoted(result) } else { Bit::Open(result) });
        };
        match parser.byte(1) {
            Some(b'\'') => {
                parser.skip_dollar(false)?;
                let (result, _) = unescape(&text[start + 2..parser.at - 1], Escapes::Dollar);
                out.push(Bit::Quoted(result));
            }
            Some(b'"') => {
                parser.at += 1;
                parser.skip_one(false)?;
                self.double(&text[start + 2..parser.at - 1], out)?;
            }
            Some(b'(') => {
                parser.skip_dollar(quoted)?;
                let whole = &text[start..parser.at];
                let arithmetic = whole.starts_with("$((") && whole.ends_with("))") && is_arithmetic(whole);
                let result = if arithmetic {
                    self.arithmetic(&whole[3..whole.len() - 2])?.to_string()
                } else {
                    self.substitution(&whole[2..whole.len() - 1])?
                };
                push(result, out);
            }
            Some(b'[') => {
                parser.skip_dollar(quoted)?;
                let result = self.arithmetic(&text[start + 2..parser.at - 1])?.to_string();
                push(result, out);
            }
            Some(b'{') => {
                parser.skip_dollar(mode == Mode::Double || mode == Mode::Nested || mode == Mode::Document)?;
                let inner = &text[start + 2..parser.at - 1];
                self.parameter(inner, quoted, out)?;
            }
            Some(byte) if byte.is_ascii_alphabetic() || byte == b'_' => {
                let length = text[start + 1..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
                parser.at = start + 1 + length;
                self.parameter(&text[start + 1..parser.at], quoted, out)?;
            }
            _ => {
                parser.at = start + 2;
                self.parameter(&text[start + 1..parser.at], quoted, out)?;
            }
        }
        Ok(())
    }
}

/// Whether a word means just its text.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-+./:,@%=^#".contains(&byte) || byte >= 0x80)
}

/// Whether `$((...))` is arithmetic and not commands in parentheses.
fn is_arithmetic(whole: &str) -> bool {
    let mut parser = Parser::new(whole, 1);
    parser.at = 3;
    parser.skip_arithmetic().is_ok_and(|closed| closed) && parser.at == whole.len()
}

/// What is in backticks, without the backslashes that protect it there.
fn without_backslashes(text: &str, quoted: bool) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let drop = c == '\\' && chars.peek().is_some_and(|next| "$`\\".contains(*next) || (quoted && *next == '"'));
        if drop {
            out.extend(chars.next());
        } else {
            out.push(c);
        }
    }
    out
}

/// The name at the start of a text: a variable's, digits, or one special character.
pub(super) fn leading_name(text: &str) -> &str {
    let bytes = text.as_bytes();
    let length = match bytes.first() {
        Some(byte) if byte.is_ascii_digit() => bytes.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        Some(byte) if byte.is_ascii_alphabetic() || *byte == b'_' => {
            bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
        }
        Some(byte) if b"@*#?$!-".contains(byte) => 1,
        _ => 0,
    };
    debug_assert!(length < 2 || words::is_name(&text[..length]) || bytes[0].is_ascii_digit());
    &text[..length]
}

#[cfg(test)]
mod tests {
    use crate::shell::evaluate::held;

    #[test]
    fn a_star_with_an_operator_is_split_again_beside_a_list() {
        let cases: [(&str, &[&str]); 14] = [
            ("\"${x[*]#-}${x[@]}\"", &["a z", "b", "ca z", "-b", "c"]),
            ("\"${x[*]#-}${!r}\"", &["a z", "b", "ca z", "-b", "c"]),
            ("\"${x[@]:0:1}${x[*]^}\"", &["a zA z", "-b", "C"]),
            ("\"${n-${x[*]#-}}${x[@]}\"", &["a z", "b", "ca z", "-b", "c"]),
            ("\"${x[*]#-}\"\"${x[@]}\"", &["a z b ca z", "-b", "c"]),
            ("\"${x[*]#-}${e[@]}\"", &["a z", "b", "c"]),
            ("\"${!x[*]}${x[@]}\"", &["0", "1", "2a z", "-b", "c"]),
            ("\"${x[*]}${x[@]}\"", &["a z -b ca z", "-b", "c"]),
            ("\"${n:-\"${x[@]}\"}${x[*]#-}\"", &["a z", "-b", "ca z", "b", "c"]),
            ("\"${e[@]-d}${x[*]#-}\"", &["da z b c"]),
            ("\"${e[@]+d}${x[*]#-}\"", &["a z", "b", "c"]),
            ("\"${x[@]+d}${x[*]#-}\"", &["da z b c"]),
            ("\"${g[*]#-}${x[@]}\"", &["ba z", "-b", "c"]),
            ("\"${g[*]#b}${e[@]}\"", &[]),
        ];
        for (word, expected) in cases {
            let text = format!("x=('a z' -b c) g=('' b) r='x[@]'; y=({word})");
            assert_eq!(held(&text, "y"), expected, "{word}");
        }
        assert_eq!(held("z=(''); y=(\"${z[@]:+d}\")", "y"), [""]);
        assert_eq!(held("z=(''); e=(); y=(\"${e[@]}${z[@]:+d}\")", "y"), [""]);
        assert_eq!(held("x=(a b); IFS=:; z=\"${x[*]#-}${x[@]}\"", "z"), ["a:ba b"]);
    }
}
