// converters/src/shell/slices.rs
//! `${name:offset:length}`, of a text and of a list.

use super::evaluate::{Evaluator, Stop};
use super::parameters::Got;
use super::parse::Parser;

impl Evaluator<'_> {
    pub(super) fn slice(&mut self, got: Got, name: &str, text: &str) -> Result<Got, Stop> {
        let negative = |shell: &Self| Stop::Run(shell.need("a part that ends before it begins"));
        // A colon in a conditional expression belongs to it.
        let mut parser = Parser::new(text, self.line);
        let mut conditions = 0_usize;
        while parser.at < text.len() {
            match parser.peek() {
                Some(b'?') => {
                    conditions += 1;
                    parser.at += 1;
                }
                Some(b':') if conditions == 0 => break,
                Some(b':') => {
                    conditions -= 1;
                    parser.at += 1;
                }
                _ => parser.skip_one(false)?,
            }
        }
        let offset = self.arithmetic(&text[..parser.at])?;
        let length = |shell: &mut Self| text.get(parser.at + 1..).map(|length| shell.arithmetic(length)).transpose();
        match got {
            Got::One(value) => {
                let chars: Vec<char> = value.unwrap_or_default().chars().collect();
                let Some((from, _)) = range(chars.len(), offset, None) else { return Ok(Got::One(None)) };
                let length = length(self)?;
                let range = range(chars.len(), offset, length);
                if range.is_none() && length.is_some_and(|length| length < 0) && from <= chars.len() {
                    return Err(negative(self));
                }
                Ok(Got::One(Some(range.map_or_else(String::new, |(from, to)| chars[from..to].iter().collect()))))
            }
            Got::All { mut values, mut indices, star } => {
                let mut offset = offset;
                if name == "@" || name == "*" {
                    // $0 is the first of them.
                    if offset < 0 {
                        offset += i64::try_from(values.len()).unwrap_or(i64::MAX - 1) + 1;
                    }
                    if offset == 0 {
                        return Err(Stop::Unknown(self.need("$0 is not in the text")));
                    }
                    if offset < 0 {
                        return Ok(Got::All { values: Vec::new(), indices: Vec::new(), star });
                    }
                    offset -= 1;
                } else if !indices.is_empty() {
                    if offset < 0 {
                        offset += indices.last().map_or(0, |last| last + 1);
                    }
                    if offset < 0 {
                        return Ok(Got::All { values: Vec::new(), indices: Vec::new(), star });
                    }
                    offset = i64::try_from(indices.iter().take_while(|index| **index < offset).count()).unwrap_or(0);
                }
                let length = length(self)?;
                if length.is_some_and(|length| length < 0) {
                    return Err(negative(self));
                }
                let (from, to) = range(values.len(), offset, length).unwrap_or((0, 0));
                values = values[from..to].to_vec();
                indices.clear();
                Ok(Got::All { values, indices, star })
            }
        }
    }
}

/// The part of a text or list that an offset and a length choose.
fn range(size: usize, offset: i64, length: Option<i64>) -> Option<(usize, usize)> {
    let size = i64::try_from(size).ok()?;
    let from = if offset < 0 { offset.checked_add(size)? } else { offset };
    if from < 0 || from > size {
        return None;
    }
    let to = match length {
        Some(length) if length < 0 => size.checked_add(length)?,
        Some(length) => from.saturating_add(length).min(size),
        None => size,
    };
    if to < from {
        return None;
    }
    Some((usize::try_from(from).ok()?, usize::try_from(to).ok()?))
}

#[cfg(test)]
mod tests {
    use crate::shell::evaluate::held;

    #[test]
    fn parts_of_texts_and_lists_are_those_of_bash() {
        let cases: [(&str, &[&str]); 8] = [
            ("a=abcdef; x=${a:2}", &["cdef"]),
            ("a=abcdef; x=${a:1:3}", &["bcd"]),
            ("a=abcdef; x=${a: -2}", &["ef"]),
            ("a=abcdef; x=${a:0:-2}", &["abcd"]),
            ("a=abcdef; x=${a:(1>0?2:3):1}", &["c"]),
            ("a=(k l m n); x=(\"${a[@]:1:2}\")", &["l", "m"]),
            ("a=([3]=k [7]=l); x=(\"${a[@]:4}\")", &["l"]),
            ("set -- k l m; x=(\"${@:2}\")", &["l", "m"]),
        ];
        for (text, expected) in cases {
            assert_eq!(held(text, "x"), expected, "{text}");
        }
    }
}
