// converters/src/shell/pattern.rs
//! Patterns: `*`, `?`, brackets and, where asked for, the extended ones such as `+([0-9])`.

use super::budget::{Budget, Spent};

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    Char(char),
    Any,
    Many,
    Set { negated: bool, items: Vec<Item> },
    Group { kind: char, alternatives: Vec<Vec<Node>> },
}

#[derive(Debug, Clone)]
enum Item {
    Range(char, char),
    Class(String),
}

impl Pattern {
    /// Compiles a pattern, in which a backslash makes the next character ordinary.
    pub fn new(text: &str, extended: bool) -> Self {
        let chars: Vec<char> = text.chars().collect();
        Self { nodes: compile(&chars, extended, 0) }
    }

    /// Whether it matches all of the text. `None` when that takes more steps than the budget has.
    pub fn matches(&self, text: &[char], budget: &mut Budget) -> Option<bool> {
        run(&self.nodes, text, budget, &mut |rest, _| Some(rest.is_empty()))
    }

    /// The plain text, if it is no more than that.
    pub fn literal(&self) -> Option<String> {
        self.nodes.iter().map(|node| if let Node::Char(c) = node { Some(*c) } else { None }).collect()
    }

    /// Length of the longest or shortest match at the start.
    pub fn prefix(&self, text: &[char], longest: bool, budget: &mut Budget) -> Result<Option<usize>, Spent> {
        if let Some(plain) = self.literal() {
            let length = plain.chars().count();
            return Ok((length <= text.len() && plain.chars().eq(text[..length].iter().copied())).then_some(length));
        }
        for count in 0..=text.len() {
            let length = if longest { text.len() - count } else { count };
            if self.matches(&text[..length], budget).ok_or(Spent)? {
                return Ok(Some(length));
            }
        }
        Ok(None)
    }

    /// Start of the longest or shortest match at the end.
    pub fn suffix(&self, text: &[char], longest: bool, budget: &mut Budget) -> Result<Option<usize>, Spent> {
        for count in 0..=text.len() {
            let start = if longest { count } else { text.len() - count };
            if self.matches(&text[start..], budget).ok_or(Spent)? {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }
}

type Next<'n> = &'n mut dyn FnMut(&[char], &mut Budget) -> Option<bool>;

/// Matches nodes against the start of a text and asks `next` about the rest.
fn run(nodes: &[Node], text: &[char], budget: &mut Budget, next: Next<'_>) -> Option<bool> {
    budget.deeper()?;
    let found = run_inner(nodes, text, budget, next);
    budget.nesting -= 1;
    found
}

fn run_inner(mut nodes: &[Node], mut text: &[char], budget: &mut Budget, next: Next<'_>) -> Option<bool> {
    // What matches exactly one character needs no way back.
    while let Some((first, rest)) = nodes.split_first() {
        let fits = match (first, text.first()) {
            (Node::Many | Node::Group { .. }, _) => break,
            (_, None) => false,
            (Node::Char(c), Some(head)) => head == c,
            (Node::Any, Some(_)) => true,
            (Node::Set { negated, items }, Some(head)) => holds(items, *head) != *negated,
        };
        if !fits {
            return Some(false);
        }
        (nodes, text) = (rest, &text[1..]);
    }
    let Some((first, rest)) = nodes.split_first() else {
        return next(text, budget);
    };
    match first {
        Node::Char(_) | Node::Any | Node::Set { .. } => Some(false),
        Node::Many => {
            if rest.is_empty() {
                // Every rest is as good as the next one only for the whole.
                for start in (0..=text.len()).rev() {
                    if next(&text[start..], budget)? {
                        return Some(true);
                    }
                }
                return Some(false);
            }
            if let Some((fixed, behind)) = up_to_many(rest) {
                // The first place is as good as any: the next `*` takes what lies between.
                for start in 0..=text.len() {
                    let Some(part) = text.get(start..start + fixed.len()) else { break };
                    if run(fixed, part, budget, &mut |_, _| Some(true))? {
                        return run(behind, &text[start + fixed.len()..], budget, next);
                    }
                }
                return Some(false);
            }
            // Bash 5.2 does not try a group that must be there behind the text's end.
            let bound = match rest {
                [Node::Group { kind: '@' | '+', .. }, ..] => text.len(),
                [Node::Group { kind: '!', .. }, ..] if !text.is_empty() => text.len(),
                _ => text.len() + 1,
            };
            for start in 0..bound {
                if run(rest, &text[start..], budget, next)? {
                    return Some(true);
                }
            }
            Some(false)
        }
        Node::Group { kind, alternatives } => group(*kind, alternatives, rest, text, budget, next),
    }
}

/// Nodes of one character each before the next `*`, and those from it on.
fn up_to_many(nodes: &[Node]) -> Option<(&[Node], &[Node])> {
    let single = |node: &&Node| matches!(node, Node::Char(_) | Node::Any | Node::Set { .. });
    let length = nodes.iter().take_while(single).count();
    let (fixed, behind) = nodes.split_at(length);
    matches!(behind.first(), Some(Node::Many)).then_some((fixed, behind))
}

fn group(
    kind: char,
    alternatives: &[Vec<Node>],
    rest: &[Node],
    text: &[char],
    budget: &mut Budget,
    next: Next<'_>,
) -> Option<bool> {
    if kind == '!' {
        for end in (0..=text.len()).rev() {
            let mut inside = false;
            for alternative in alternatives {
                inside |= run(alternative, &text[..end], budget, &mut |left, _| Some(left.is_empty()))?;
            }
            if !inside && run(rest, &text[end..], budget, next)? {
                return Some(true);
            }
        }
        return Some(false);
    }
    if matches!(kind, '?' | '*') && run(rest, text, budget, next)? {
        return Some(true);
    }
    for alternative in alternatives {
        let length = text.len();
        let found = run(alternative, text, budget, &mut |left, budget| {
            if matches!(kind, '*' | '+') && left.len() < length {
                let again = [Node::Group { kind: '*', alternatives: alternatives.to_vec() }];
                run(&again, left, budget, &mut |left, budget| run(rest, left, budget, next))
            } else {
                run(rest, left, budget, next)
            }
        })?;
        if found {
            return Some(true);
        }
    }
    Some(false)
}

fn holds(items: &[Item], c: char) -> bool {
    items.iter().any(|item| match item {
        Item::Range(low, high) => (*low..=*high).contains(&c),
        Item::Class(name) => in_class(name, c),
    })
}

/// Whether a character is of a class such as `alnum`.
pub(crate) fn in_class(name: &str, c: char) -> bool {
    match name {
        "alnum" => c.is_alphanumeric(),
        "alpha" => c.is_alphabetic(),
        "blank" => c == ' ' || c == '\t',
        "cntrl" => c.is_ascii_control(),
        "digit" => c.is_ascii_digit(),
        "graph" => !(c.is_control() || c.is_whitespace()),
        "lower" => c.is_lowercase(),
        "print" => c == ' ' || !(c.is_control() || c.is_whitespace()),
        "punct" => c.is_ascii_punctuation(),
        "space" => c.is_ascii_whitespace() || c == '\u{b}',
        "upper" => c.is_uppercase(),
        "xdigit" => c.is_ascii_hexdigit(),
        "word" => c.is_alphanumeric() || c == '_',
        _ => false,
    }
}

fn compile(chars: &[char], extended: bool, depth: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if extended
            && depth < 16
            && "?*+@!".contains(c)
            && chars.get(at + 1) == Some(&'(')
            && let Some((alternatives, end)) = alternatives(chars, at + 2)
        {
            let alternatives = alternatives.into_iter().map(|part| compile(part, true, depth + 1)).collect();
            // Behind a `*`, what may be missing adds nothing.
            if !("?*".contains(c) && matches!(nodes.last(), Some(Node::Many))) {
                nodes.push(Node::Group { kind: c, alternatives });
            }
            at = end;
            continue;
        }
        match c {
            '\\' if at + 1 < chars.len() => {
                nodes.push(Node::Char(chars[at + 1]));
                at += 1;
            }
            // Behind a `*`, bash looks for what a last backslash protects, and there is nothing.
            '\\' if matches!(nodes.last(), Some(Node::Many)) => {
                nodes.push(Node::Set { negated: false, items: Vec::new() });
            }
            '?' => match nodes.last() {
                // Behind a `*`, it is as good before it; so it is where bash looks for what follows.
                Some(Node::Many) => nodes.insert(nodes.len() - 1, Node::Any),
                _ => nodes.push(Node::Any),
            },
            '*' => {
                if !matches!(nodes.last(), Some(Node::Many)) {
                    nodes.push(Node::Many);
                }
            }
            '[' => match bracket(chars, at) {
                Some((node, end)) => {
                    nodes.push(node);
                    at = end;
                    continue;
                }
                None => nodes.push(Node::Char('[')),
            },
            _ => nodes.push(Node::Char(c)),
        }
        at += 1;
    }
    nodes
}

/// Splits what stands in an extended pattern's parentheses; returns where it ends.
fn alternatives(chars: &[char], start: usize) -> Option<(Vec<&[char]>, usize)> {
    let (mut parts, mut from, mut at, mut depth) = (Vec::new(), start, start, 0_usize);
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 1,
            '[' => {
                if let Some((_, end)) = bracket(chars, at) {
                    at = end;
                    continue;
                }
            }
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            ')' => {
                parts.push(&chars[from..at]);
                return Some((parts, at + 1));
            }
            '|' if depth == 0 => {
                parts.push(&chars[from..at]);
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn bracket(chars: &[char], start: usize) -> Option<(Node, usize)> {
    let mut at = start + 1;
    let negated = matches!(chars.get(at), Some('!' | '^'));
    if negated {
        at += 1;
    }
    let first = at;
    let mut items = Vec::new();
    loop {
        let mut c = *chars.get(at)?;
        if c == ']' && at > first {
            return Some((Node::Set { negated, items }, at + 1));
        }
        if c == '[' && chars.get(at + 1) == Some(&':') {
            let length = chars[at + 2..].windows(2).position(|pair| pair == [':', ']']);
            if let Some(length) = length {
                items.push(Item::Class(chars[at + 2..at + 2 + length].iter().collect()));
                at += length + 4;
                continue;
            }
        }
        if c == '\\' {
            at += 1;
            c = *chars.get(at)?;
        }
        at += 1;
        if chars.get(at) == Some(&'-') && chars.get(at + 1).is_some_and(|end| *end != ']') {
            at += 1;
            let mut high = chars[at];
            if high == '\\' {
                at += 1;
                high = *chars.get(at)?;
            }
            at += 1;
            items.push(Item::Range(c, high));
        } else {
            items.push(Item::Range(c, c));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::shell::evaluate::held;

    #[test]
    fn behind_a_star_a_group_that_must_be_there_is_not_empty_at_the_end() {
        let cases = [
            ("1.2.", "*!(*.*)", "n"),
            ("b", "*!(*.*)", "y"),
            ("", "*!(*.*)", "y"),
            ("b", "*@(|x)", "n"),
            ("", "*@(|x)", "n"),
            ("b", "*+(|x)", "n"),
            ("b", "*?(x)", "y"),
            ("b", "**(x)", "y"),
            ("b", "?@(|x)", "y"),
            ("b", "*?@(|x)", "n"),
            ("b", "*@(|x)*", "y"),
            ("bcbd", "*b*d", "y"),
            ("bcbd", "*[bc]?*bd", "y"),
        ];
        for (text, pattern, expected) in cases {
            let text = format!("shopt -s extglob; x=n; [[ '{text}' == {pattern} ]] && x=y");
            assert_eq!(held(&text, "x"), [expected], "{text}");
        }
        assert_eq!(held("shopt -s extglob; v=1.2.; x=${v/%!(*.*)/foo}", "x"), ["1.2."]);
        assert_eq!(held("a='\\'; case '\\xz' in $a'xz') x=y ;; esac", "x"), ["y"]);
        assert_eq!(held("a='\\'; v='\\xz'; x=y; x=${v#$a'*'}", "x"), [""; 0]);
    }

    #[test]
    fn a_star_before_a_last_backslash_matches_nothing() {
        assert_eq!(held("a='\\'; x=${a/%*$a/k}", "x"), ["\\"]);
        assert_eq!(held("a=/usr; x=${a/$a/k}", "x"), ["k"]);
    }

    #[test]
    fn many_stars_take_few_steps() {
        let text = format!("x=n; [[ {} == {}c ]] || x=y", "ab".repeat(200), "*a*b".repeat(60));
        assert_eq!(held(&text, "x"), ["y"]);
    }

    #[test]
    fn a_backslash_before_what_is_quoted_is_itself() {
        let cases = [("x", "$a\"x\"", "n"), ("\\x", "$a\"x\"", "y"), ("x", "$a\"\"x", "y"), ("x", "${a}x", "y")];
        for (text, pattern, expected) in cases {
            let text = format!("a='\\'; x=n; [[ '{text}' == {pattern} ]] && x=y");
            assert_eq!(held(&text, "x"), [expected], "{text}");
        }
    }
}
