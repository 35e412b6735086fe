// converters/src/shell/braces.rs
//! Brace expansion: `{a,b}`, `{1..9}`, `{a..e..2}`, on the text of a word before anything else.

use super::budget::Budget;
use super::evaluate::Stop;
use super::parse::Parser;

/// Expands the braces of a word's text.
pub(crate) fn expand(text: &str, budget: &mut Budget) -> Result<Vec<String>, Stop> {
    if !text.contains('{') {
        return Ok(vec![text.to_owned()]);
    }
    expand_at(text, budget, 0)
}

fn expand_at(text: &str, budget: &mut Budget, depth: usize) -> Result<Vec<String>, Stop> {
    budget.step()?;
    budget.spend(text.len())?;
    if depth > 32 {
        return Err(budget.exhausted("braces are nested too deep"));
    }
    let mut from = 0;
    while let Some(open) = find_open(text, from) {
        let found = find_close(text, open);
        budget.copy(found.as_ref().map_or(text.len(), |(close, _)| *close) - open)?;
        if let Some((close, commas)) = found {
            let inner = &text[open + 1..close];
            let middles = if commas.is_empty() {
                sequence(inner, budget)?
            } else {
                let mut middles = Vec::new();
                let mut start = open + 1;
                for comma in commas.into_iter().chain([close]) {
                    middles.extend(expand_at(&text[start..comma], budget, depth + 1)?);
                    start = comma + 1;
                }
                Some(middles)
            };
            if let Some(middles) = middles {
                let rest = expand_at(&text[close + 1..], budget, depth + 1)?;
                let mut out = Vec::new();
                for middle in &middles {
                    for end in &rest {
                        budget.spend(open + middle.len() + end.len())?;
                        let before = &text[..open];
                        out.push(match middle.strip_suffix('$') {
                            Some(start) if ends_in_dollar(middle) && end.starts_with(['"', '\'']) => {
                                format!("{before}{start}\\${end}")
                            }
                            _ => format!("{before}{middle}{end}"),
                        });
                    }
                }
                return Ok(out);
            }
        }
        from = open + 1;
    }
    Ok(vec![text.to_owned()])
}

/// Whether a text ends in a dollar that begins nothing. A quote that braces bring behind it makes nothing of it either: `$"` and `$'` are
/// what stood so in the text.
fn ends_in_dollar(text: &str) -> bool {
    let before = text.trim_end_matches('$');
    let (dollars, backslashes) = (text.len() - before.len(), before.len() - before.trim_end_matches('\\').len());
    dollars > 0 && (dollars + backslashes) % 2 == 1
}

/// The next opening brace that is neither quoted nor a parameter's; `from` is the text's start or stands behind such a brace.
fn find_open(text: &str, from: usize) -> Option<usize> {
    let mut parser = Parser::new(text, 1);
    parser.at = from;
    while parser.at < text.len() {
        if parser.peek() == Some(b'{') {
            return Some(parser.at);
        }
        let before = parser.at;
        if parser.skip_one(false).is_err() {
            return None;
        }
        if parser.at == before {
            return None;
        }
    }
    None
}

/// The brace that closes the one at `open`, and the commas between them. One with neither a comma nor two dots before it closes nothing.
fn find_close(text: &str, open: usize) -> Option<(usize, Vec<usize>)> {
    let mut parser = Parser::new(text, 1);
    parser.at = open + 1;
    let (mut depth, mut commas, mut dots) = (0_usize, Vec::new(), false);
    while parser.at < text.len() {
        match parser.peek() {
            Some(b'{') => depth += 1,
            Some(b'}') if depth == 0 && (dots || !commas.is_empty()) => return Some((parser.at, commas)),
            Some(b'}') => depth = depth.saturating_sub(1),
            Some(b',') if depth == 0 => commas.push(parser.at),
            Some(b'.') if depth == 0 => dots |= parser.byte(1) == Some(b'.'),
            _ => {
                parser.skip_one(false).ok()?;
                continue;
            }
        }
        parser.at += 1;
    }
    None
}

/// The members of `low..high` or `low..high..step`; nothing if it is neither.
fn sequence(inner: &str, budget: &mut Budget) -> Result<Option<Vec<String>>, Stop> {
    let parts: Vec<&str> = inner.split("..").collect();
    let (low, high, step) = match parts[..] {
        [low, high] => (low, high, "1"),
        [low, high, step] => (low, high, step),
        _ => return Ok(None),
    };
    let Ok(step) = step.parse::<i64>() else { return Ok(None) };
    let step = step.saturating_abs().max(1);
    let plain = |text: &str| text.strip_prefix(['-', '+']).unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    let letter = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() => Some(i64::from(*byte)),
        _ => None,
    };
    let (from, to, numeric) = match (low.parse::<i64>(), high.parse::<i64>()) {
        (Ok(from), Ok(to)) if plain(low) && plain(high) => (from, to, true),
        _ => match (letter(low), letter(high)) {
            (Some(from), Some(to)) => (from, to, false),
            _ => return Ok(None),
        },
    };
    let padded = |text: &str| {
        text.len() > 1 && text.trim_start_matches('-').starts_with('0') && text.trim_start_matches('-').len() > 1
    };
    let width = if numeric && (padded(low) || padded(high)) { low.len().max(high.len()) } else { 0 };
    let mut out = Vec::new();
    let mut at = from;
    loop {
        budget.step()?;
        budget.spend(8)?;
        if numeric {
            out.push(if at < 0 {
                format!("-{:0>1$}", at.unsigned_abs(), width.saturating_sub(1))
            } else {
                format!("{at:0>width$}")
            });
        } else {
            let byte = u8::try_from(at).unwrap_or(b'?');
            // A backslash between the letters' cases is quoted by what follows.
            out.push(if byte.is_ascii_alphanumeric() {
                (byte as char).to_string()
            } else {
                format!("\\{}", byte as char)
            });
        }
        let next = if from <= to { at.saturating_add(step) } else { at.saturating_sub(step) };
        if (from <= to && next > to) || (from > to && next < to) || next == at {
            return Ok(Some(out));
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use crate::shell::budget::Budget;
    use crate::shell::evaluate::{Evaluator, Stop, held};

    #[test]
    fn a_dollar_that_comes_before_a_quote_by_braces_is_itself() {
        let cases: [(&str, &[&str]); 4] = [
            ("x=({$,b}\"c\")", &["$c", "bc"]),
            ("x=({b$,\\$,b}'\\n')", &["b$\\n", "$\\n", "b\\n"]),
            ("a=k; x=({$,b}a)", &["k", "ba"]),
            ("x=($'k'{,l}$\"m\")", &["km", "klm"]),
        ];
        for (text, expected) in cases {
            assert_eq!(held(text, "x"), expected, "{text}");
        }
    }

    #[test]
    fn braces_that_never_close_count_as_steps() {
        for open in ["{", "{1..2", "{'a',"] {
            let names = || Some(Vec::new());
            let text = format!("x=({})", open.repeat(200_000 / open.len()));
            let done = Evaluator::new(Budget::default(), &names).run(&text, 1);
            assert!(matches!(done, Err(Stop::Budget(_))), "{open}");
        }
    }
}
