// converters/src/shell/arithmetic.rs
//! Arithmetic: C's operators on 64 bits, with variables by name.

use super::evaluate::{Evaluator, Stop};

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

/// A place that can be assigned to.
struct Place {
    name: String,
    subscript: Option<String>,
}

const BINARY: [(&str, u8); 19] = [
    ("||", 1),
    ("&&", 2),
    ("==", 6),
    ("!=", 6),
    ("<=", 7),
    (">=", 7),
    ("<<", 8),
    (">>", 8),
    ("**", 11),
    ("|", 3),
    ("^", 4),
    ("&", 5),
    ("<", 7),
    (">", 7),
    ("+", 9),
    ("-", 9),
    ("*", 10),
    ("/", 10),
    ("%", 10),
];

impl Evaluator<'_> {
    /// The value of an expression.
    pub(super) fn arithmetic(&mut self, text: &str) -> Result<i64, Stop> {
        self.budget.step()?;
        let expanded = self.document(text)?.replace('"', "");
        self.deeper(|shell| shell.evaluate(&expanded))
    }

    /// The value of an expression in which nothing is expanded before.
    pub(super) fn plain_arithmetic(&mut self, text: &str) -> Result<i64, Stop> {
        self.budget.step()?;
        self.deeper(|shell| shell.evaluate(text))
    }

    fn evaluate(&mut self, text: &str) -> Result<i64, Stop> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        reader.blanks();
        if reader.at == text.len() {
            return Ok(0);
        }
        let value = self.comma(&mut reader, true)?;
        reader.blanks();
        if reader.at < text.len() {
            return Err(self.not_arithmetic(text));
        }
        Ok(value)
    }

    fn not_arithmetic(&self, text: &str) -> Stop {
        Stop::Run(self.need(format!("`{text}` is no arithmetic")))
    }

    fn comma(&mut self, reader: &mut Reader<'_>, live: bool) -> Result<i64, Stop> {
        let mut value = self.assigned(reader, live)?;
        while reader.eat(",") {
            value = self.assigned(reader, live)?;
        }
        Ok(value)
    }

    fn assigned(&mut self, reader: &mut Reader<'_>, live: bool) -> Result<i64, Stop> {
        self.budget.step()?;
        if reader.depth > 64 {
            return Err(self.budget.exhausted("arithmetic is nested too deep"));
        }
        reader.depth += 1;
        let start = reader.at;
        if let Some(place) = reader.place() {
            for operator in ["<<=", ">>=", "+=", "-=", "*=", "/=", "%=", "&=", "^=", "|=", "="] {
                let double = operator == "=" && reader.rest().starts_with("==");
                if !double && reader.eat(operator) {
                    let right = self.assigned(reader, live)?;
                    reader.depth -= 1;
                    let sign = &operator[..operator.len() - 1];
                    if !live {
                        return Ok(0);
                    }
                    let value = if sign.is_empty() {
                        right
                    } else {
                        let left = self.read(&place)?;
                        self.binary(sign, left, right)?
                    };
                    self.store(&place, value)?;
                    return Ok(value);
                }
            }
        }
        reader.at = start;
        let condition = self.operation(reader, 1, live)?;
        let value = if reader.eat("?") {
            let yes = self.comma(reader, live && condition != 0)?;
            if !reader.eat(":") {
                return Err(self.not_arithmetic(reader.text));
            }
            let no = self.assigned(reader, live && condition == 0)?;
            if condition != 0 { yes } else { no }
        } else {
            condition
        };
        reader.depth -= 1;
        Ok(value)
    }

    fn operation(&mut self, reader: &mut Reader<'_>, lowest: u8, live: bool) -> Result<i64, Stop> {
        let mut left = self.unary(reader, live)?;
        loop {
            let Some((operator, strength)) = reader.operator() else { return Ok(left) };
            if strength < lowest {
                return Ok(left);
            }
            reader.at += operator.len();
            let skip = (operator == "&&" && left == 0) || (operator == "||" && left != 0);
            // The power is the only one that binds to the right.
            let next = if operator == "**" { strength } else { strength + 1 };
            let right = self.operation(reader, next, live && !skip)?;
            left = if live { self.binary(operator, left, right)? } else { 0 };
        }
    }

    fn unary(&mut self, reader: &mut Reader<'_>, live: bool) -> Result<i64, Stop> {
        self.budget.step()?;
        reader.blanks();
        for sign in ["++", "--"] {
            let start = reader.at;
            if reader.eat(sign) {
                if let Some(place) = reader.place() {
                    if !live {
                        return Ok(0);
                    }
                    let value = self.read(&place)?.wrapping_add(if sign == "++" { 1 } else { -1 });
                    self.store(&place, value)?;
                    return Ok(value);
                }
                reader.at = start;
            }
        }
        reader.depth += 1;
        if reader.depth > 64 {
            return Err(self.budget.exhausted("arithmetic is nested too deep"));
        }
        let value = if reader.eat("!") {
            i64::from(self.unary(reader, live)? == 0)
        } else if reader.eat("~") {
            !self.unary(reader, live)?
        } else if reader.eat("-") {
            self.unary(reader, live)?.wrapping_neg()
        } else if reader.eat("+") {
            self.unary(reader, live)?
        } else if reader.eat("(") {
            let value = self.comma(reader, live)?;
            if !reader.eat(")") {
                return Err(self.not_arithmetic(reader.text));
            }
            value
        } else {
            self.primary(reader, live)?
        };
        reader.depth -= 1;
        Ok(value)
    }

    fn primary(&mut self, reader: &mut Reader<'_>, live: bool) -> Result<i64, Stop> {
        if reader.rest().starts_with(|c: char| c.is_ascii_digit()) {
            let length =
                reader.rest().bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"#@_".contains(byte)).count();
            let text = &reader.rest()[..length];
            let value = number(text).ok_or_else(|| self.not_arithmetic(reader.text))?;
            reader.at += length;
            return Ok(value);
        }
        let Some(place) = reader.place() else { return Err(self.not_arithmetic(reader.text)) };
        let after = if reader.eat("++") {
            1
        } else if reader.eat("--") {
            -1
        } else {
            0
        };
        if !live {
            return Ok(0);
        }
        let value = self.read(&place)?;
        if after != 0 {
            self.store(&place, value.wrapping_add(after))?;
        }
        Ok(value)
    }

    fn read(&mut self, place: &Place) -> Result<i64, Stop> {
        let mut bits = Vec::new();
        let name = match &place.subscript {
            Some(subscript) => format!("{}[{subscript}]", place.name),
            None => place.name.clone(),
        };
        self.parameter(&name, true, &mut bits)?;
        let text = super::fields::joined(&bits);
        if text.trim().is_empty() {
            return Ok(0);
        }
        if let Some(value) = number(text.trim()) {
            return Ok(value);
        }
        match self.deeper(|shell| shell.evaluate(&text)) {
            // A variable that names itself is an error in bash too.
            Err(Stop::Budget(need)) if self.budget.steps > 0 => Err(Stop::Run(need)),
            other => other,
        }
    }

    fn store(&mut self, place: &Place, value: i64) -> Result<(), Stop> {
        match &place.subscript {
            Some(subscript) => self.assign_element(&place.name, subscript, value.to_string(), false),
            None => self.assign_scalar(&place.name, value.to_string()),
        }
    }

    fn binary(&self, operator: &str, left: i64, right: i64) -> Result<i64, Stop> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as the processor shifts")]
        let shift = right as u32;
        Ok(match operator {
            "||" => i64::from(left != 0 || right != 0),
            "&&" => i64::from(left != 0 && right != 0),
            "|" => left | right,
            "^" => left ^ right,
            "&" => left & right,
            "==" => i64::from(left == right),
            "!=" => i64::from(left != right),
            "<" => i64::from(left < right),
            ">" => i64::from(left > right),
            "<=" => i64::from(left <= right),
            ">=" => i64::from(left >= right),
            "<<" => left.wrapping_shl(shift),
            ">>" => left.wrapping_shr(shift),
            "+" => left.wrapping_add(right),
            "-" => left.wrapping_sub(right),
            "*" => left.wrapping_mul(right),
            "/" | "%" if right == 0 => return Err(Stop::Run(self.need("a division by zero"))),
            "/" => left.wrapping_div(right),
            "%" => left.wrapping_rem(right),
            _ if right < 0 => return Err(Stop::Run(self.need("a negative power"))),
            _ => {
                let (mut result, mut base, mut exponent) = (1_i64, left, right);
                while exponent > 0 {
                    if exponent & 1 == 1 {
                        result = result.wrapping_mul(base);
                    }
                    base = base.wrapping_mul(base);
                    exponent >>= 1;
                }
                result
            }
        })
    }
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, what: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }

    fn operator(&mut self) -> Option<(&'static str, u8)> {
        self.blanks();
        let rest = self.rest();
        // What assigns is no operation.
        let assigns = ["<<=", ">>=", "+=", "-=", "*=", "/=", "%=", "&=", "^=", "|="];
        if assigns.iter().any(|operator| rest.starts_with(operator)) {
            return None;
        }
        BINARY.into_iter().find(|(operator, _)| rest.starts_with(operator))
    }

    fn place(&mut self) -> Option<Place> {
        self.blanks();
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return None;
        }
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let name = rest[..length].to_owned();
        self.at += length;
        let mut subscript = None;
        if self.rest().starts_with('[') {
            let mut depth = 0_usize;
            let end = self.rest().bytes().position(|byte| {
                depth += usize::from(byte == b'[');
                depth -= usize::from(byte == b']');
                depth == 0
            })?;
            subscript = Some(self.rest()[1..end].to_owned());
            self.at += end + 1;
        }
        Some(Place { name, subscript })
    }
}

/// Reads a number: decimal, octal, hexadecimal, or in a base such as `2#101`.
pub(super) fn number(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return if digits.is_empty() { Some(0) } else { in_base(digits, 16) };
    }
    if let Some((base, digits)) = text.split_once('#') {
        let base: u32 = base.parse().ok().filter(|base| (2..=64).contains(base))?;
        return in_base(digits, base);
    }
    if text.len() > 1 && text.starts_with('0') {
        return in_base(&text[1..], 8);
    }
    if text.is_empty() {
        return None;
    }
    in_base(text, 10)
}

fn in_base(digits: &str, base: u32) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.bytes().try_fold(0_i64, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            b'A'..=b'Z' if base <= 36 => byte - b'A' + 10,
            b'A'..=b'Z' => byte - b'A' + 36,
            b'@' => 62,
            b'_' => 63,
            _ => return None,
        };
        (u32::from(digit) < base).then(|| value.wrapping_mul(i64::from(base)).wrapping_add(i64::from(digit)))
    })
}
