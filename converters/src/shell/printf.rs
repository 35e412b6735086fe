// converters/src/shell/printf.rs
//! `printf`.

use super::bytes::{bytes_of, text_of};
use super::evaluate::{Evaluator, Stop};
use super::quoting::{Escapes, backslashed, unescape};

/// One conversion of a format.
struct Conversion {
    flags: String,
    width: Option<i64>,
    precision: Option<i64>,
    kind: char,
}

/// The number that a text is, as C reads it; what begins it is the error where it is none. An empty text is zero, blanks are an error.
fn integer(text: &str) -> Result<i64, i64> {
    if text.is_empty() {
        return Ok(0);
    }
    if let Some(quoted) = text.strip_prefix(['\'', '"']) {
        return Ok(quoted.chars().next().map_or(0, |c| i64::from(c as u32)));
    }
    let text = text.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal.filter(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit())) {
        Some(rest) => (rest, 16),
        None if digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    let length = digits.bytes().take_while(|byte| (*byte as char).is_digit(radix)).count();
    let value = digits[..length].bytes().try_fold(0_i64, |value, byte| {
        let digit = i64::from((byte as char).to_digit(radix).unwrap_or(0));
        value.checked_mul(i64::from(radix))?.checked_add(digit)
    });
    let whole = length == digits.len() && length > 0;
    match value {
        Some(value) if whole => Ok(if negative { -value } else { value }),
        Some(value) => Err(if negative { -value } else { value }),
        None => Err(if negative { i64::MIN } else { i64::MAX }),
    }
}

/// So many bytes of a text: `printf` counts no characters.
fn beginning(text: &str, length: usize) -> String {
    let bytes = bytes_of(text);
    text_of(&bytes[..length.min(bytes.len())])
}

impl Evaluator<'_> {
    pub(super) fn printf(&mut self, arguments: &[String]) -> Result<(), Stop> {
        let mut rest = arguments;
        let mut target = None;
        if let [flag, name, behind @ ..] = rest
            && flag == "-v"
        {
            target = Some(name.clone());
            rest = behind;
        }
        if let [flag, behind @ ..] = rest
            && flag == "--"
        {
            rest = behind;
        }
        let Some((format, values)) = rest.split_first() else {
            self.status = Some(2);
            return Ok(());
        };
        let mut out = String::new();
        let mut at = 0;
        self.status = Some(0);
        loop {
            let before = at;
            let ended = self.format(format, values, &mut at, &mut out)?;
            self.budget.step()?;
            if ended || at >= values.len() || at == before {
                break;
            }
        }
        if out.contains('\0') {
            // A text ends at NUL; what is printed goes on without it.
            if target.is_some() {
                out.truncate(out.find('\0').unwrap_or(out.len()));
            } else {
                out.retain(|c| c != '\0');
            }
        }
        match target {
            Some(name) => match name.split_once('[') {
                Some((array, subscript)) => {
                    let subscript = subscript.trim_end_matches(']').to_owned();
                    self.assign_element(array, &subscript, out, false)
                }
                None => self.assign_scalar(&name, out),
            },
            None => self.print(&out),
        }
    }

    /// Goes through the format once; says whether the output ends.
    fn format(&mut self, format: &str, values: &[String], at: &mut usize, out: &mut String) -> Result<bool, Stop> {
        let chars: Vec<char> = format.chars().collect();
        let mut index = 0;
        let mut literal = String::new();
        while index < chars.len() {
            let c = chars[index];
            if c == '\\' {
                literal.push(c);
                literal.extend(chars.get(index + 1));
                index += 2;
                continue;
            }
            if c != '%' {
                literal.push(c);
                index += 1;
                continue;
            }
            out.push_str(&unescape(&std::mem::take(&mut literal), Escapes::Format).0);
            index += 1;
            if chars.get(index) == Some(&'%') {
                out.push('%');
                index += 1;
                continue;
            }
            let conversion = self.conversion(&chars, &mut index, values, at)?;
            let value = values.get(*at).map_or("", String::as_str);
            *at += 1;
            let piece = match conversion.kind {
                'b' => {
                    let (text, ended) = unescape(value, Escapes::Argument);
                    if ended {
                        out.push_str(&text);
                        return Ok(true);
                    }
                    text
                }
                's' => value.to_owned(),
                'q' => backslashed(value),
                'c' if value.is_empty() => "\0".to_owned(),
                'c' => beginning(value, 1),
                kind => self.numeric(&conversion, kind, value)?,
            };
            self.budget.spend(piece.len())?;
            self.pad(&conversion, piece, out)?;
        }
        out.push_str(&unescape(&literal, Escapes::Format).0);
        Ok(false)
    }

    fn conversion(
        &mut self,
        chars: &[char],
        index: &mut usize,
        values: &[String],
        at: &mut usize,
    ) -> Result<Conversion, Stop> {
        let mut flags = String::new();
        while let Some(c) = chars.get(*index).filter(|c| "-+ #0'".contains(**c)) {
            flags.push(*c);
            *index += 1;
        }
        let mut wrong = false;
        let mut size = |index: &mut usize, flags: &mut String| -> Option<i64> {
            if chars.get(*index) == Some(&'*') {
                *index += 1;
                let value = values.get(*at).map_or(Ok(0), |text| integer(text)).unwrap_or_else(|prefix| {
                    wrong = true;
                    prefix
                });
                *at += 1;
                if value < 0 {
                    flags.push('-');
                }
                return Some(value.saturating_abs());
            }
            let start = *index;
            while chars.get(*index).is_some_and(char::is_ascii_digit) {
                *index += 1;
            }
            chars[start..*index].iter().collect::<String>().parse().ok()
        };
        let width = size(index, &mut flags);
        let mut precision = None;
        if chars.get(*index) == Some(&'.') {
            *index += 1;
            precision = Some(size(index, &mut String::new()).unwrap_or(0));
        }
        if wrong {
            self.status = Some(1);
        }
        while chars.get(*index).is_some_and(|c| "hlLjzt".contains(*c)) {
            *index += 1;
        }
        let kind = chars.get(*index).copied().unwrap_or(' ');
        *index += 1;
        if !"bsqcdiuoxX".contains(kind) {
            return Err(Stop::Unknown(self.need(format!("`printf` with %{kind}"))));
        }
        Ok(Conversion { flags, width, precision, kind })
    }

    fn numeric(&mut self, conversion: &Conversion, kind: char, text: &str) -> Result<String, Stop> {
        let value = integer(text).unwrap_or_else(|prefix| {
            // Bash says that it is no number, and takes what is one.
            self.status = Some(1);
            prefix
        });
        let mut digits = match kind {
            'o' => format!("{value:o}"),
            'x' => format!("{value:x}"),
            'X' => format!("{value:X}"),
            #[allow(clippy::cast_sign_loss, reason = "as printf does")]
            'u' => (value as u64).to_string(),
            _ => value.unsigned_abs().to_string(),
        };
        if let Some(precision) = conversion.precision {
            let precision = usize::try_from(precision).unwrap_or(0);
            self.budget.spend(precision)?;
            digits = format!("{digits:0>precision$}");
        }
        let sign = match kind {
            'd' | 'i' if value < 0 => "-",
            'd' | 'i' if conversion.flags.contains('+') => "+",
            'd' | 'i' if conversion.flags.contains(' ') => " ",
            'x' if conversion.flags.contains('#') && value != 0 => "0x",
            'X' if conversion.flags.contains('#') && value != 0 => "0X",
            'o' if conversion.flags.contains('#') && !digits.starts_with('0') => "0",
            _ => "",
        };
        let zeros = conversion.flags.contains('0') && !conversion.flags.contains('-') && conversion.precision.is_none();
        if let (true, Some(width)) = (zeros, conversion.width) {
            let width = usize::try_from(width).unwrap_or(0).saturating_sub(sign.len());
            self.budget.spend(width)?;
            digits = format!("{digits:0>width$}");
        }
        Ok(format!("{sign}{digits}"))
    }

    fn pad(&mut self, conversion: &Conversion, mut piece: String, out: &mut String) -> Result<(), Stop> {
        if let ('s' | 'b' | 'q', Some(precision)) = (conversion.kind, conversion.precision) {
            piece = beginning(&piece, usize::try_from(precision).unwrap_or(0));
        }
        let width = usize::try_from(conversion.width.unwrap_or(0)).unwrap_or(usize::MAX);
        let size = bytes_of(&piece).len();
        let fill = width.saturating_sub(size);
        self.budget.spend(fill)?;
        if conversion.flags.contains('-') {
            out.push_str(&piece);
            out.extend(std::iter::repeat_n(' ', fill));
        } else {
            out.extend(std::iter::repeat_n(' ', fill));
            out.push_str(&piece);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::shell::evaluate::held;

    #[test]
    fn what_is_printed_is_what_bash_prints() {
        let cases: [(&str, &[&str]); 9] = [
            ("printf -v x '%b' 'a\\0b' c", &["a"]),
            ("printf -v x 'a\\0b'", &["a"]),
            ("x=$(printf '%b' 'a\\0b')", &["ab"]),
            ("printf -v x %q $'\\303'", &["$'\\303'"]),
            ("printf -v e '%*s' ''; x=$?", &["0"]),
            ("printf -v e '%.*s' '' abc; x=$?$e", &["0"]),
            ("printf -v e '%d' ''; x=$?$e", &["00"]),
            ("printf -v e '%d' ' '; x=$?$e", &["10"]),
            ("printf -v e '%*s' ' ' a; x=$?$e", &["1a"]),
        ];
        for (text, expected) in cases {
            assert_eq!(held(text, "x"), expected, "{text}");
        }
    }
}
