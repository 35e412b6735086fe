// converters/src/shell/bracketed.rs
//! The inside of `[[ ]]`.

use super::parse::{Parsed, Parser};
use super::syntax::Condition;

impl Parser<'_> {
    pub(super) fn condition(&mut self) -> Parsed<Condition> {
        let mut left = self.condition_and()?;
        loop {
            self.skip_newlines()?;
            if !self.starts("||") {
                return Ok(left);
            }
            self.at += 2;
            left = Condition::Or(Box::new(left), Box::new(self.condition_and()?));
        }
    }

    fn condition_and(&mut self) -> Parsed<Condition> {
        let mut left = self.condition_one()?;
        loop {
            self.skip_newlines()?;
            if !self.starts("&&") {
                return Ok(left);
            }
            self.at += 2;
            left = Condition::And(Box::new(left), Box::new(self.condition_one()?));
        }
    }

    fn condition_one(&mut self) -> Parsed<Condition> {
        self.skip_newlines()?;
        if self.peek() == Some(b'!') && matches!(self.byte(1), Some(b' ' | b'\t' | b'\n' | b'(')) {
            self.at += 1;
            return Ok(Condition::Not(Box::new(self.deeper(Self::condition_one)?)));
        }
        if self.peek() == Some(b'(') {
            self.at += 1;
            let inner = self.deeper(Self::condition)?;
            self.skip_newlines()?;
            self.expect_byte(b')')?;
            return Ok(Condition::Group(Box::new(inner)));
        }
        let Some(first) = self.word()? else { return Err(self.unexpected()) };
        self.skip_newlines()?;
        let unary = matches!(first.text.as_bytes(), [b'-', letter] if b"abcdefghknoprstuvwxzGLNORS".contains(letter));
        if unary && !self.condition_ends() {
            let Some(word) = self.word()? else { return Err(self.unexpected()) };
            return Ok(Condition::Unary(first.text, word));
        }
        if self.condition_ends() {
            return Ok(Condition::Unary("-n".to_owned(), first));
        }
        let operator = if matches!(self.peek(), Some(b'<' | b'>')) {
            self.at += 1;
            self.text[self.at - 1..self.at].to_owned()
        } else {
            match self.word()? {
                Some(word) => word.text,
                None => return Err(self.unexpected()),
            }
        };
        self.skip_newlines()?;
        let right = if operator == "=~" { self.regex_word()? } else { self.word()? };
        let Some(right) = right else { return Err(self.unexpected()) };
        Ok(Condition::Binary(first, operator, right))
    }

    fn condition_ends(&self) -> bool {
        self.starts("&&") || self.starts("||") || self.peek() == Some(b')') || self.plain() == "]]"
    }
}
