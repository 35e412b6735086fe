// converters/src/shell/skip.rs
//! Passes over what is quoted, escaped, substituted or in parentheses, so that the end of a word is found.

use super::parse::{Parsed, Parser};

impl Parser<'_> {
    /// Skips a bracket expression, in which quotes and parentheses may stand.
    pub(super) fn skip_bracket(&mut self) -> Parsed<()> {
        self.at += 1;
        if self.peek() == Some(b'^') {
            self.at += 1;
        }
        if self.peek() == Some(b']') {
            self.at += 1;
        }
        while let Some(byte) = self.peek() {
            match byte {
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                b'[' if self.byte(1) == Some(b':') => {
                    let rest = &self.text[self.at..];
                    self.at += rest.find(":]").map_or(1, |end| end + 2);
                }
                b' ' | b'\n' => return Ok(()),
                _ => self.skip_one(false)?,
            }
        }
        Ok(())
    }

    /// Skips a character, an escaped one, a quoted text or a substitution.
    pub fn skip_one(&mut self, in_double: bool) -> Parsed<()> {
        match self.peek() {
            Some(b'\\') => self.at = (self.at + 2).min(self.bytes.len()),
            Some(b'\'') if !in_double => self.skip_single()?,
            Some(b'"') if !in_double => self.skip_double()?,
            Some(b'`') => self.skip_backticks()?,
            Some(b'$') => self.skip_dollar(in_double)?,
            Some(_) => self.at += 1,
            None => {}
        }
        // A multi-byte character is passed whole.
        while self.at < self.bytes.len() && !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
        Ok(())
    }

    fn skip_single(&mut self) -> Parsed<()> {
        match self.bytes[self.at + 1..].iter().position(|byte| *byte == b'\'') {
            Some(length) => {
                self.at += length + 2;
                Ok(())
            }
            None => self.error("a single quote is not closed"),
        }
    }

    fn skip_double(&mut self) -> Parsed<()> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => self.skip_one(true)?,
                None => {
                    self.at = start;
                    return self.error("a double quote is not closed");
                }
            }
        }
    }

    fn skip_backticks(&mut self) -> Parsed<()> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'`') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.at = (self.at + 2).min(self.bytes.len()),
                Some(_) => self.at += 1,
                None => {
                    self.at = start;
                    return self.error("a backtick is not closed");
                }
            }
        }
    }

    /// Skips what begins with a dollar.
    pub fn skip_dollar(&mut self, in_double: bool) -> Parsed<()> {
        self.at += 1;
        match self.peek() {
            Some(b'(') => {
                if self.byte(1) == Some(b'(') {
                    let start = self.at;
                    self.at += 2;
                    if self.deeper(Self::skip_arithmetic)? {
                        return Ok(());
                    }
                    self.at = start;
                }
                self.skip_commands()
            }
            Some(b'{') => {
                self.at += 1;
                self.deeper(|parser| parser.skip_parameter(in_double))
            }
            Some(b'[') => {
                self.at += 1;
                self.skip_until(b']', in_double)
            }
            Some(b'\'') if !in_double => {
                let start = self.at;
                self.at += 1;
                loop {
                    match self.peek() {
                        Some(b'\'') => {
                            self.at += 1;
                            return Ok(());
                        }
                        Some(b'\\') => self.at = (self.at + 2).min(self.bytes.len()),
                        Some(_) => self.at += 1,
                        None => {
                            self.at = start;
                            return self.error("a single quote is not closed");
                        }
                    }
                }
            }
            // `$$` is whole: what stands behind it begins anew.
            Some(b'$') => {
                self.at += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn skip_until(&mut self, end: u8, in_double: bool) -> Parsed<()> {
        loop {
            match self.peek() {
                Some(byte) if byte == end => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => self.skip_one(in_double)?,
                None => return self.error(format!("`{}` is missing", end as char)),
            }
        }
    }

    /// Skips a parenthesis of commands, at the opening one.
    pub(super) fn skip_commands(&mut self) -> Parsed<()> {
        self.at += 1;
        self.list()?;
        if self.peek() != Some(b')') {
            return self.error("a parenthesis is not closed");
        }
        self.at += 1;
        Ok(())
    }

    /// Skips an arithmetic expression and its two closing parentheses; says whether it was one.
    pub fn skip_arithmetic(&mut self) -> Parsed<bool> {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some(b'(') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b')') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b')') => {
                    let closed = self.byte(1) == Some(b')');
                    self.at += 2;
                    return Ok(closed);
                }
                Some(b'\'' | b'"' | b'\\' | b'$' | b'`') => {
                    if self.skip_one(false).is_err() {
                        return Ok(false);
                    }
                }
                Some(_) => self.at += 1,
                None => return Ok(false),
            }
        }
    }

    /// Skips the rest of `${`.
    fn skip_parameter(&mut self, in_double: bool) -> Parsed<()> {
        let start = self.at;
        let rest = &self.bytes[self.at..];
        let mut name =
            usize::from(matches!(rest, [b'!' | b'#', next, ..] if *next != b'}' && !b":-=+?%/".contains(next)));
        let word = rest[name..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        name += if word == 0 { usize::from(rest.get(name).is_some_and(|byte| *byte != b'}')) } else { word };
        self.at += name;
        if self.peek() == Some(b'[') {
            self.skip_subscript();
        }
        let pattern = matches!(self.peek(), Some(b'#' | b'%' | b'/' | b'^' | b','));
        let quotes = !in_double || pattern;
        loop {
            match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                // Within double quotes they are plain characters, yet come in pairs.
                Some(b'\'') => self.skip_single()?,
                Some(b'"') => self.skip_double()?,
                Some(_) => self.skip_one(!quotes)?,
                None => {
                    self.at = start;
                    return self.error("`${` is not closed");
                }
            }
        }
    }

    /// Skips a subscript, at its bracket; only the bracket where it is not closed.
    pub(super) fn skip_subscript(&mut self) {
        let start = self.at;
        self.at += 1;
        let mut depth = 1_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'[' => depth += 1,
                b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return;
                    }
                }
                b'\n' => break,
                b'\'' | b'"' | b'\\' | b'$' | b'`' => {
                    if self.skip_one(false).is_err() {
                        break;
                    }
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        self.at = start + 1;
    }

    /// Skips the parenthesis of a pattern such as `@(a|b)`.
    pub(super) fn skip_pattern(&mut self) -> Parsed<()> {
        let start = self.at;
        self.at += 1;
        self.deeper(|parser| {
            loop {
                match parser.peek() {
                    Some(b')') => {
                        parser.at += 1;
                        return Ok(());
                    }
                    Some(b'(') => parser.skip_pattern()?,
                    Some(_) => parser.skip_one(false)?,
                    None => {
                        parser.at = start;
                        return parser.error("a parenthesis is not closed");
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::shell::evaluate::held;

    #[test]
    fn two_dollars_begin_nothing_else() {
        assert_eq!(held("y=\"$$(k \"'a\")\"\nx=b' x=c", "x"), ["c"]);
        assert_eq!(held("y=$${x}; x=d", "x"), ["d"]);
    }
}
