// converters/src/shell/pattern.rs
//! Patterns: `*`, `?`, brackets and, where asked for, the extended ones such as `+([0-9])`.

use super::budget::{Budget, Spent};
use super::evaluate::Stop;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    nodes: Vec<Node>,
    /// The plain text, if it is no more than that.
    plain: Option<Vec<char>>,
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
    ///
    /// # Errors
    /// [`Stop::Budget`]: brackets and groups that do not end make it look too far too often.
    pub fn new(text: &str, extended: bool, budget: &mut Budget) -> Result<Self, Stop> {
        let chars: Vec<char> = text.chars().collect();
        let nodes = Compiler { extended, budget }.compile(&chars, 0)?;
        let plain = nodes.iter().map(|node| if let Node::Char(c) = node { Some(*c) } else { None }).collect();
        Ok(Self { nodes, plain })
    }

    /// Whether it matches all of the text. `None` when that takes more steps than the budget has.
    pub fn matches(&self, text: &[char], budget: &mut Budget) -> Option<bool> {
        run(&self.nodes, text, budget, &mut |rest, _| Some(rest.is_empty()))
    }

    /// The plain text, if it is no more than that.
    pub fn literal(&self) -> Option<&[char]> {
        self.plain.as_deref()
    }

    /// Length of the longest or shortest match at the start.
    pub fn prefix(&self, text: &[char], longest: bool, budget: &mut Budget) -> Result<Option<usize>, Spent> {
        if let Some(plain) = self.literal() {
            budget.copy(plain.len()).map_err(|_| Spent)?;
            return Ok(text.starts_with(plain).then_some(plain.len()));
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
    let mut looks = 0;
    while let Some((first, rest)) = nodes.split_first() {
        looks += if let Node::Set { items, .. } = first { items.len() } else { 1 };
        let fits = match (first, text.first()) {
            (Node::Many | Node::Group { .. }, _) => break,
            (_, None) => false,
            (Node::Char(c), Some(head)) => head == c,
            (Node::Any, Some(_)) => true,
            (Node::Set { negated, items }, Some(head)) => holds(items, *head) != *negated,
        };
        if !fits {
            budget.copy(looks).ok()?;
            return Some(false);
        }
        (nodes, text) = (rest, &text[1..]);
    }
    budget.copy(looks).ok()?;
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
                budget.deeper()?;
                let found = group('*', alternatives, rest, left, budget, next);
                budget.nesting -= 1;
                found
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

/// What stands in parentheses between bars, and where it ends.
type Alternatives<'c> = (Vec<&'c [char]>, usize);

struct Compiler<'b> {
    extended: bool,
    budget: &'b mut Budget,
}

impl Compiler<'_> {
    fn compile(&mut self, chars: &[char], depth: usize) -> Result<Vec<Node>, Stop> {
        let mut nodes = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let c = chars[at];
            if self.extended
                && depth < 16
                && "?*+@!".contains(c)
                && chars.get(at + 1) == Some(&'(')
                && let Some((parts, end)) = self.alternatives(chars, at + 2)?
            {
                let alternatives =
                    parts.into_iter().map(|part| self.compile(part, depth + 1)).collect::<Result<_, _>>()?;
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
                '[' => match self.bracket(chars, at)? {
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
        Ok(nodes)
    }

    /// Splits what stands in an extended pattern's parentheses; returns where it ends.
    fn alternatives<'c>(&mut self, chars: &'c [char], start: usize) -> Result<Option<Alternatives<'c>>, Stop> {
        let (mut parts, mut from, mut at, mut depth) = (Vec::new(), start, start, 0_usize);
        while at < chars.len() {
            match chars[at] {
                '\\' => at += 1,
                '[' => {
                    if let Some((_, end)) = self.bracket(chars, at)? {
                        at = end;
                        continue;
                    }
                }
                '(' => depth += 1,
                ')' if depth > 0 => depth -= 1,
                ')' => {
                    parts.push(&chars[from..at]);
                    break;
                }
                '|' if depth == 0 => {
                    parts.push(&chars[from..at]);
                    from = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        self.budget.copy(at - start)?;
        Ok((at < chars.len()).then_some((parts, at + 1)))
    }

    /// What stands between brackets, and where they end; nothing where they do not.
    fn bracket(&mut self, chars: &[char], start: usize) -> Result<Option<(Node, usize)>, Stop> {
        let found = bracket(chars, start);
        let end = found.as_ref().map_or(chars.len(), |(_, end)| *end);
        self.budget.copy(end - start)?;
        Ok(found)
    }
}

fn bracket(chars: &[char], start: usize) -> Option<(Node, usize)> {
    let mut at = start + 1;
    let negated = matches!(chars.get(at), Some('!' | '^'));
    if negated {
        at += 1;
    }
    let first = at;
    let mut items = Vec::new();
    // Where no class ends anywhere, it is looked for once.
    let mut classes = true;
    loop {
        let mut c = *chars.get(at)?;
        if c == ']' && at > first {
            return Some((Node::Set { negated, items }, at + 1));
        }
        if classes && c == '[' && chars.get(at + 1) == Some(&':') {
            let length = chars[at + 2..].windows(2).position(|pair| pair == [':', ']']);
            classes = length.is_some();
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
    use crate::shell::budget::Budget;
    use crate::shell::evaluate::{Evaluator, Stop, held};

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
    fn what_a_pattern_looks_at_counts_as_steps() {
        let long = "a".repeat(200_000);
        let hostile = [
            format!("x='{}'; [[ a == $x ]]", "[".repeat(200_000)),
            format!("x='{}'; [[ a == $x ]]", "+(".repeat(100_000)),
            format!("x='{}'; [[ a == $x ]]", "[[:a:]".repeat(50_000)),
            format!("x={long}; y={long}b; z=${{x//$y/}}${{x%%?$y}}"),
            format!(
                "x={long}; y='[{}]'; z=${{x%%$y\\b}}",
                ('c'..'\u{fff0}').filter(|c| *c > '\u{e000}').collect::<String>()
            ),
            format!("shopt -s extglob; x={long}; y='*(b{long}|a)c'; z=${{x##$y}}"),
            format!("x={long}; y='{}'; [[ $x =~ b$y ]]", "()".repeat(50_000)),
            format!("x={long}; y='{}'; z=${{x/*/$y}}", "&".repeat(10_000)),
            format!("x=$(sed s/a/{long}/g <<< {long})"),
        ];
        for text in hostile {
            let read = move || {
                let names = || Some(Vec::new());
                let done = Evaluator::new(Budget::default(), &names).run(&text, 1);
                assert!(matches!(done, Err(Stop::Budget(_))), "{done:?}: {}", &text[..40]);
            };
            // With the stack that readers have.
            std::thread::Builder::new().stack_size(64 << 20).spawn(read).unwrap().join().unwrap();
        }
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
