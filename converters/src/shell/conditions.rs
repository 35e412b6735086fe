// converters/src/shell/conditions.rs
//! `[[ ... ]]`, and `[` and `test`.

use super::evaluate::{Evaluator, Need, Stop};
use super::expand::Mode;
use super::fields::{Bit, has_empty_element, joined};
use super::parameters::has_list;
use super::pattern::Pattern;
use super::regex::Regex;
use super::state::Value;
use super::syntax::{Condition, Word};
use super::variables::has_effects;

impl Evaluator<'_> {
    /// Whether an expression between `[[` and `]]` holds.
    pub(super) fn condition(&mut self, condition: &Condition) -> Result<bool, Stop> {
        self.budget.step()?;
        match condition {
            Condition::Not(inner) => self.deeper(|shell| shell.condition(inner)).map(|held| !held),
            Condition::Group(inner) => self.deeper(|shell| shell.condition(inner)),
            Condition::And(left, right) => Ok(self.condition(left)? && self.condition(right)?),
            Condition::Or(left, right) => Ok(self.condition(left)? || self.condition(right)?),
            Condition::Unary(operator, word) => {
                if operator == "-v" {
                    let name = self.string(&word.text)?;
                    return self.is_set(&name);
                }
                let text = self.operand(&word.text)?;
                self.unary_test(operator, &text)
            }
            Condition::Binary(left, operator, right) => self.binary_condition(left, operator, right),
        }
    }

    /// A condition of which it is not known whether it holds: what it would have set is not known either.
    pub(super) fn unknown_condition(&mut self, condition: &Condition, need: Need) -> Result<(), Stop> {
        self.status = None;
        let (mut effects, mut groups) = (false, false);
        let mut parts = vec![condition];
        while let Some(part) = parts.pop() {
            match part {
                Condition::Not(inner) | Condition::Group(inner) => parts.push(inner),
                Condition::And(left, right) | Condition::Or(left, right) => parts.extend([&**left, &**right]),
                Condition::Unary(_, word) => effects |= has_effects(&word.text),
                Condition::Binary(left, operator, right) => {
                    effects |= has_effects(&left.text) || has_effects(&right.text);
                    groups |= operator == "=~";
                }
            }
        }
        if effects {
            return Err(Stop::Run(need));
        }
        if groups {
            self.assign_unknown("BASH_REMATCH", need);
        }
        Ok(())
    }

    fn binary_condition(&mut self, left: &Word, operator: &str, right: &Word) -> Result<bool, Stop> {
        let text = self.operand(&left.text)?;
        match operator {
            "=" | "==" | "!=" => {
                let bits = self.operand_bits(&right.text)?;
                let pattern = self.pattern_of(&bits)?;
                let pattern = Pattern::new(&pattern, true, &mut self.budget)?;
                let chars: Vec<char> = text.chars().collect();
                Ok(self.matches(&pattern, &chars)? == (operator != "!="))
            }
            "=~" => {
                let source = self.regex_source(&right.text)?;
                self.regex_match(&text, &source)
            }
            "<" => Ok(text < self.operand(&right.text)?),
            ">" => Ok(text > self.operand(&right.text)?),
            "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" => {
                let right = self.string(&right.text)?;
                let (left, right) = (self.arithmetic(&text)?, self.arithmetic(&right)?);
                Ok(compare(left, operator, right))
            }
            _ => Err(Stop::Unknown(self.need(format!("`{operator}` asks for files")))),
        }
    }

    /// A word between `[[` and `]]`: nothing in it is split.
    fn operand(&mut self, text: &str) -> Result<String, Stop> {
        self.operand_bits(text).map(|bits| joined(&bits))
    }

    fn operand_bits(&mut self, text: &str) -> Result<Vec<Bit>, Stop> {
        let mut bits = Vec::new();
        self.bits(text, Mode::Word, &mut bits)?;
        // Beside a quoted list bash splits the rest and joins it anew with blanks, one by one; with other separators, beside any list.
        let separators = self.lookup("IFS")?.map_or(" \t\n", |variable| variable.value.first().unwrap_or_default());
        let splits = has_list(text) && (text.contains('"') || !separators.starts_with(' '));
        let is_split = |text: &str| text.contains(|c| separators.contains(c) || " \t\n".contains(c));
        if splits
            && (bits.iter().any(|bit| matches!(bit, Bit::Open(text) | Bit::Bare(text) if is_split(text)))
                || has_empty_element(&bits))
        {
            return Err(Stop::Unknown(self.need("a list beside separators where nothing is split")));
        }
        Ok(bits)
    }

    /// The expression behind `=~`: what is quoted stands for itself.
    fn regex_source(&mut self, text: &str) -> Result<String, Stop> {
        let bits = self.operand_bits(text)?;
        let mut out = String::new();
        for bit in bits {
            match bit {
                Bit::Quoted(text) => {
                    for c in text.chars() {
                        if "\\.[]()*+?{}|^$".contains(c) {
                            out.push('\\');
                        }
                        out.push(c);
                    }
                }
                bit => out.push_str(bit.text()),
            }
        }
        Ok(out)
    }

    fn regex_match(&mut self, text: &str, source: &str) -> Result<bool, Stop> {
        let Some(regex) = Regex::new(source) else {
            return Err(Stop::Run(self.need(format!("the expression `{source}` is not understood"))));
        };
        let chars: Vec<char> = text.chars().collect();
        let Ok(found) = regex.find(&chars, &mut self.budget) else {
            return Err(self.budget.exhausted("an expression takes too many steps"));
        };
        let groups = found.as_deref().unwrap_or_default();
        let elements = groups.iter().enumerate().map(|(index, range)| {
            let text: String = range.map_or_else(String::new, |(from, to)| chars[from..to].iter().collect());
            (i64::try_from(index).unwrap_or(0), text)
        });
        let value = Value::Indexed(elements.collect());
        self.put("BASH_REMATCH", value);
        Ok(found.is_some())
    }

    /// Whether a variable, or an element of one, has a value.
    pub(super) fn is_set(&mut self, name: &str) -> Result<bool, Stop> {
        let (name, subscript) = match name.split_once('[') {
            Some((name, rest)) => (name, Some(rest.trim_end_matches(']').to_owned())),
            None => (name, None),
        };
        let Some(variable) = self.lookup(name)? else { return Ok(false) };
        let value = variable.value.clone();
        self.budget.copy(value.weight())?;
        Ok(match (value, subscript) {
            (value, None) => value.first().is_some(),
            (value, Some(all)) if all == "@" || all == "*" => !value.elements().is_empty(),
            (Value::Assoc(table), Some(key)) => {
                let key = self.string(&key)?;
                table.get(&key).is_some()
            }
            (value, Some(subscript)) => {
                let index = self.arithmetic(&subscript)?;
                value.keys().contains(&index.to_string())
            }
        })
    }

    fn unary_test(&mut self, operator: &str, text: &str) -> Result<bool, Stop> {
        match operator {
            "-n" => Ok(!text.is_empty()),
            "-z" => Ok(text.is_empty()),
            "-v" => self.is_set(text),
            "-o" => Err(Stop::Unknown(self.need("the shell's options"))),
            "-t" => Err(Stop::Unknown(self.need("whether there is a terminal"))),
            _ => Err(Stop::Unknown(self.need(format!("`{operator} {text}` asks for a file")))),
        }
    }

    /// `[` and `test`, with their arguments.
    pub(super) fn test(&mut self, arguments: &[String]) -> Result<bool, Stop> {
        let texts: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match texts[..] {
            [] => Ok(false),
            [text] => Ok(!text.is_empty()),
            ["!", text] => Ok(text.is_empty()),
            [operator, text] => self.unary_operator(operator, text),
            [left, operator, right] if is_binary(operator) => self.binary_test(left, operator, right),
            [left, operator @ ("-a" | "-o"), right] => {
                let (left, right) = (!left.is_empty(), !right.is_empty());
                Ok(if operator == "-a" { left && right } else { left || right })
            }
            ["!", ..] if texts.len() <= 4 => self.test(&arguments[1..]).map(|held| !held),
            _ => {
                let mut at = 0;
                let held = self.test_or(&texts, &mut at)?;
                if at == texts.len() { Ok(held) } else { Err(Stop::Run(self.need("`test` with too many arguments"))) }
            }
        }
    }

    fn unary_operator(&mut self, operator: &str, text: &str) -> Result<bool, Stop> {
        if operator.len() == 2 && operator.starts_with('-') {
            return self.unary_test(operator, text);
        }
        Err(Stop::Run(self.need(format!("`test {operator} {text}` is an error"))))
    }

    fn test_or(&mut self, texts: &[&str], at: &mut usize) -> Result<bool, Stop> {
        let mut held = self.test_and(texts, at)?;
        while texts.get(*at) == Some(&"-o") {
            *at += 1;
            held |= self.test_and(texts, at)?;
        }
        Ok(held)
    }

    fn test_and(&mut self, texts: &[&str], at: &mut usize) -> Result<bool, Stop> {
        let mut held = self.test_one(texts, at)?;
        while texts.get(*at) == Some(&"-a") {
            *at += 1;
            held &= self.test_one(texts, at)?;
        }
        Ok(held)
    }

    fn test_one(&mut self, texts: &[&str], at: &mut usize) -> Result<bool, Stop> {
        let rest = &texts[(*at).min(texts.len())..];
        match rest {
            ["!", ..] => {
                *at += 1;
                self.deeper(|shell| shell.test_one(texts, at)).map(|held| !held)
            }
            ["(", ..] => {
                *at += 1;
                let held = self.deeper(|shell| shell.test_or(texts, at))?;
                if texts.get(*at) != Some(&")") {
                    return Err(Stop::Run(self.need("`test` without its closing parenthesis")));
                }
                *at += 1;
                Ok(held)
            }
            [left, operator, right, ..] if is_binary(operator) => {
                *at += 3;
                self.binary_test(left, operator, right)
            }
            [operator, text, ..] if operator.len() == 2 && operator.starts_with('-') => {
                *at += 2;
                self.unary_test(operator, text)
            }
            [text, ..] => {
                *at += 1;
                Ok(!text.is_empty())
            }
            [] => Err(Stop::Run(self.need("`test` with an argument missing"))),
        }
    }

    fn binary_test(&mut self, left: &str, operator: &str, right: &str) -> Result<bool, Stop> {
        match operator {
            "=" | "==" => Ok(left == right),
            "!=" => Ok(left != right),
            "<" => Ok(left < right),
            ">" => Ok(left > right),
            "-nt" | "-ot" | "-ef" => Err(Stop::Unknown(self.need(format!("`{operator}` asks for files")))),
            _ => {
                let number = |text: &str| text.trim().parse::<i64>();
                match (number(left), number(right)) {
                    (Ok(left), Ok(right)) => Ok(compare(left, operator, right)),
                    _ => Ok(false),
                }
            }
        }
    }
}

fn is_binary(operator: &str) -> bool {
    ["=", "==", "!=", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef"].contains(&operator)
}

fn compare(left: i64, operator: &str, right: i64) -> bool {
    match operator {
        "-eq" => left == right,
        "-ne" => left != right,
        "-lt" => left < right,
        "-le" => left <= right,
        "-gt" => left > right,
        _ => left >= right,
    }
}

#[cfg(test)]
mod tests {
    use crate::shell::budget::Budget;
    use crate::shell::evaluate::{Evaluator, held};

    #[test]
    fn an_empty_element_beside_a_quoted_list_is_not_guessed() {
        for word in ["${y[@]}\"${!a[@]}\"", "${z[@]}\"$@\""] {
            let names = || Some(Vec::new());
            for command in [format!("[[ {word} > '!' ]] && x=1"), format!("case {word} in 0) x=1 ;; esac")] {
                let mut shell = Evaluator::new(Budget::default(), &names);
                let done = shell.run(&format!("y=('' 0); z=(a '' b); {command}"), 1);
                assert!(done.is_err() || shell.status().is_none(), "{command}");
            }
        }
        assert_eq!(held("y=('' 0); [[ ${y[@]} == ' 0' ]] && x=1", "x"), ["1"]);
    }
}
