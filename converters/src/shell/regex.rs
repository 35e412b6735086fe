// converters/src/shell/regex.rs
//! Extended regular expressions as `=~` has them, with the groups that they capture.
//!
//! The match is the leftmost and, among those, the longest one; the groups are those of the first way to it.

use super::budget::{Budget, Spent};
use super::bytes::is_byte;
use super::pattern::in_class;

/// A compiled expression.
pub(crate) struct Regex {
    root: Node,
    groups: usize,
}

enum Node {
    Empty,
    Char(char),
    Any,
    Start,
    End,
    Set { negated: bool, ranges: Vec<(char, char)>, classes: Vec<String> },
    Group(usize, Box<Node>),
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Repeat { node: Box<Node>, least: usize, most: usize },
}

/// Where each group was found.
type Groups = Vec<Option<(usize, usize)>>;
type Next<'n> = &'n mut dyn FnMut(usize, &mut Groups, &mut Budget) -> Option<bool>;

struct Compiler {
    chars: Vec<char>,
    at: usize,
    groups: usize,
    depth: usize,
}

impl Regex {
    /// Compiles an expression; nothing for one that is not understood.
    pub fn new(source: &str) -> Option<Self> {
        let mut compiler = Compiler { chars: source.chars().collect(), at: 0, groups: 1, depth: 0 };
        let root = compiler.either()?;
        (compiler.at == compiler.chars.len()).then_some(Self { root, groups: compiler.groups })
    }

    /// Finds the match and its groups. An error when the budget is used up.
    pub fn find(&self, text: &[char], budget: &mut Budget) -> Result<Option<Groups>, Spent> {
        self.find_from(text, 0, budget)
    }

    /// The same, from a place in the text on.
    pub fn find_from(&self, text: &[char], from: usize, budget: &mut Budget) -> Result<Option<Groups>, Spent> {
        for start in from..=text.len() {
            let mut best: Option<(usize, Groups)> = None;
            budget.copy(self.groups).map_err(|_| Spent)?;
            let mut groups: Groups = vec![None; self.groups];
            walk(&self.root, text, start, &mut groups, budget, &mut |end, groups, _| {
                if best.as_ref().is_none_or(|(longest, _)| end > *longest) {
                    let mut found = groups.clone();
                    found[0] = Some((start, end));
                    best = Some((end, found));
                }
                Some(end == text.len())
            })
            .ok_or(Spent)?;
            if let Some((_, groups)) = best {
                return Ok(Some(groups));
            }
        }
        Ok(None)
    }
}

fn walk(
    node: &Node,
    text: &[char],
    at: usize,
    groups: &mut Groups,
    budget: &mut Budget,
    next: Next<'_>,
) -> Option<bool> {
    budget.deeper()?;
    let found = walk_inner(node, text, at, groups, budget, next);
    budget.nesting -= 1;
    found
}

/// How many things are looked at to say whether a node matches a character.
fn weight(node: &Node) -> usize {
    if let Node::Set { ranges, classes, .. } = node { ranges.len() + classes.len() } else { 1 }
}

/// Whether a node that always matches one character matches this one.
fn fits(node: &Node, c: Option<&char>) -> Option<bool> {
    Some(match (node, c) {
        (Node::Char(_) | Node::Any | Node::Set { .. }, None) => false,
        (Node::Char(wanted), Some(c)) => wanted == c,
        // A byte that is no character is none of any set either.
        (Node::Any | Node::Set { .. }, Some(c)) if is_byte(*c) => false,
        (Node::Any, Some(_)) => true,
        (Node::Set { negated, ranges, classes }, Some(c)) => {
            let inside = ranges.iter().any(|(low, high)| (low..=high).contains(&c))
                || classes.iter().any(|class| in_class(class, *c));
            inside != *negated
        }
        _ => return None,
    })
}

fn walk_inner(
    node: &Node,
    text: &[char],
    at: usize,
    groups: &mut Groups,
    budget: &mut Budget,
    next: Next<'_>,
) -> Option<bool> {
    match node {
        Node::Empty => next(at, groups, budget),
        Node::Char(_) | Node::Any | Node::Set { .. } => {
            budget.copy(weight(node)).ok()?;
            if fits(node, text.get(at)) == Some(true) { next(at + 1, groups, budget) } else { Some(false) }
        }
        Node::Start if at == 0 => next(at, groups, budget),
        Node::End if at == text.len() => next(at, groups, budget),
        Node::Group(number, inner) => {
            let before = groups[*number];
            let found = walk(inner, text, at, groups, budget, &mut |end, groups, budget| {
                let before = groups[*number].replace((at, end));
                let found = next(end, groups, budget)?;
                if !found {
                    groups[*number] = before;
                }
                Some(found)
            })?;
            if !found {
                groups[*number] = before;
            }
            Some(found)
        }
        Node::Sequence(nodes) => sequence(nodes, text, at, groups, budget, next),
        Node::Either(nodes) => {
            for node in nodes {
                if walk(node, text, at, groups, budget, next)? {
                    return Some(true);
                }
            }
            Some(false)
        }
        Node::Repeat { node, least, most } => repeat(node, (*least, *most), text, at, groups, budget, next),
        Node::Start | Node::End => Some(false),
    }
}

fn sequence(
    nodes: &[Node],
    text: &[char],
    at: usize,
    groups: &mut Groups,
    budget: &mut Budget,
    next: Next<'_>,
) -> Option<bool> {
    match nodes.split_first() {
        None => next(at, groups, budget),
        Some((first, rest)) => walk(first, text, at, groups, budget, &mut |end, groups, budget| {
            sequence(rest, text, end, groups, budget, next)
        }),
    }
}

fn repeat(
    node: &Node,
    (least, most): (usize, usize),
    text: &[char],
    at: usize,
    groups: &mut Groups,
    budget: &mut Budget,
    next: Next<'_>,
) -> Option<bool> {
    budget.step().ok()?;
    if fits(node, None).is_some() {
        let mut count = 0;
        while count < most && fits(node, text.get(at + count)) == Some(true) {
            count += 1;
        }
        budget.copy(count.saturating_mul(weight(node))).ok()?;
        loop {
            if count < least {
                return Some(false);
            }
            if next(at + count, groups, budget)? {
                return Some(true);
            }
            budget.step().ok()?;
            let Some(fewer) = count.checked_sub(1) else { return Some(false) };
            count = fewer;
        }
    }
    if most > 0 {
        let found = walk(node, text, at, groups, budget, &mut |end, groups, budget| {
            if end == at && least == 0 {
                return Some(false);
            }
            repeat(node, (least.saturating_sub(1), most - 1), text, end, groups, budget, next)
        })?;
        if found {
            return Some(true);
        }
    }
    if least == 0 { next(at, groups, budget) } else { Some(false) }
}

/// No more repetitions than a text can have.
const MANY: usize = 4096;

impl Compiler {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn either(&mut self) -> Option<Node> {
        self.depth += 1;
        if self.depth > 32 {
            return None;
        }
        let mut nodes = vec![self.run()?];
        while self.peek() == Some('|') {
            self.at += 1;
            nodes.push(self.run()?);
        }
        self.depth -= 1;
        if nodes.len() == 1 { nodes.pop() } else { Some(Node::Either(nodes)) }
    }

    fn run(&mut self) -> Option<Node> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || (c == ')' && self.depth > 1) {
                break;
            }
            let mut node = self.atom()?;
            while let Some(c) = self.peek() {
                let (least, most) = match c {
                    '*' => (0, MANY),
                    '+' => (1, MANY),
                    '?' => (0, 1),
                    '{' => match self.counts() {
                        Some(counts) => {
                            node = Node::Repeat { node: Box::new(node), least: counts.0, most: counts.1 };
                            continue;
                        }
                        None => return None,
                    },
                    _ => break,
                };
                self.at += 1;
                node = Node::Repeat { node: Box::new(node), least, most };
            }
            nodes.push(node);
        }
        match nodes.len() {
            0 => Some(Node::Empty),
            1 => nodes.pop(),
            _ => Some(Node::Sequence(nodes)),
        }
    }

    fn counts(&mut self) -> Option<(usize, usize)> {
        let end = self.chars[self.at..].iter().position(|c| *c == '}')? + self.at;
        let text: String = self.chars[self.at + 1..end].iter().collect();
        self.at = end + 1;
        match text.split_once(',') {
            Some((least, "")) => Some((least.parse().ok()?, MANY)),
            Some((least, most)) => {
                Some((if least.is_empty() { 0 } else { least.parse().ok()? }, most.parse::<usize>().ok()?.min(MANY)))
            }
            None => text.parse::<usize>().ok().filter(|count| *count <= MANY).map(|count| (count, count)),
        }
    }

    fn atom(&mut self) -> Option<Node> {
        let c = self.peek()?;
        self.at += 1;
        Some(match c {
            '.' => Node::Any,
            '^' => Node::Start,
            '$' => Node::End,
            '(' => {
                let number = self.groups;
                self.groups += 1;
                let inner = self.either()?;
                if self.peek() != Some(')') {
                    return None;
                }
                self.at += 1;
                Node::Group(number, Box::new(inner))
            }
            '[' => self.bracket()?,
            '\\' => {
                let next = self.peek()?;
                self.at += 1;
                if next.is_alphanumeric() {
                    // `\w` and its like are the C library's own.
                    return None;
                }
                Node::Char(next)
            }
            '*' | '+' | '?' | '{' => return None,
            c => Node::Char(c),
        })
    }

    fn bracket(&mut self) -> Option<Node> {
        let negated = self.peek() == Some('^');
        if negated {
            self.at += 1;
        }
        let (mut ranges, mut classes) = (Vec::new(), Vec::new());
        let first = self.at;
        loop {
            let c = self.peek()?;
            if c == ']' && self.at > first {
                self.at += 1;
                return Some(Node::Set { negated, ranges, classes });
            }
            self.at += 1;
            if is_byte(c) {
                return None;
            }
            if c == '[' && matches!(self.peek(), Some(':' | '.' | '=')) {
                if self.peek() != Some(':') {
                    return None;
                }
                let start = self.at + 1;
                let length = self.chars[start..].windows(2).position(|pair| pair == [':', ']'])?;
                classes.push(self.chars[start..start + length].iter().collect());
                self.at = start + length + 2;
                continue;
            }
            if self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|end| *end != ']') {
                let high = self.chars[self.at + 1];
                if is_byte(high) {
                    return None;
                }
                self.at += 2;
                ranges.push((c, high));
            } else {
                ranges.push((c, c));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Regex;
    use crate::shell::budget::Budget;
    use crate::shell::bytes::text_of;

    #[test]
    fn a_byte_that_is_no_character_is_in_no_set() {
        let text: Vec<char> = text_of(b"\xc3l").chars().collect();
        for (expression, expected) in [(".", Some((1, 2))), ("[^a-z]", None), ("[^a]", Some((1, 2))), ("^.", None)] {
            let found = Regex::new(expression).unwrap().find(&text, &mut Budget::default()).unwrap();
            assert_eq!(found.and_then(|groups| groups[0]), expected, "{expression}");
        }
        for expression in [&b"[\xc3]"[..], b"[a-\xc3]"] {
            assert!(Regex::new(&text_of(expression)).is_none());
        }
    }
}
