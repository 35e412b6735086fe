// converters/src/shell/syntax.rs
//! The syntax tree. Words keep their source text: they are taken apart only when they are expanded, so that what is never
//! evaluated, the bodies of functions above all, costs no more than finding its end.

use std::rc::Rc;

/// A list of statements.
pub(crate) type List = Vec<Statement>;

/// A whole text.
#[derive(Debug, Clone)]
pub struct Script {
    pub(crate) statements: List,
}

impl Script {
    /// Whether it is one assignment and nothing else.
    #[must_use]
    pub fn is_one_assignment(&self) -> bool {
        let [statement] = &self.statements[..] else { return false };
        let [command] = &statement.first.commands[..] else { return false };
        matches!(&command.kind, Kind::Simple { assignments, words } if assignments.len() == 1 && words.is_empty())
            && statement.rest.is_empty()
    }

    /// The functions that are defined at the top level, outside of any condition.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.statements.iter().flat_map(|statement| &statement.first.commands).filter_map(|command| {
            match &command.kind {
                Kind::Function(function) => Some(function.as_ref()),
                _ => None,
            }
        })
    }
}

/// Pipelines joined by `&&` and `||`.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub first: Pipeline,
    pub rest: Vec<(Link, Pipeline)>,
    pub background: bool,
}

/// How a pipeline follows the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    And,
    Or,
}

/// Commands joined by `|`.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub negated: bool,
    pub timed: bool,
    pub commands: Vec<Command>,
}

/// One command with its redirections.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub line: usize,
    pub kind: Kind,
    pub redirects: Vec<Redirect>,
}

/// What kind of command.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Simple { assignments: Vec<Word>, words: Vec<Word> },
    Group(List),
    Subshell(List),
    If { condition: List, body: List, otherwise: Option<List> },
    While { until: bool, condition: List, body: List },
    For { select: bool, name: String, words: Option<Vec<Word>>, body: List },
    Count { start: String, test: String, step: String, body: List },
    Case { word: Word, arms: Vec<Arm> },
    Arithmetic(String),
    Test(Condition),
    Function(Rc<Function>),
    Coprocess(Box<Command>),
}

/// One arm of a `case`.
#[derive(Debug, Clone)]
pub(crate) struct Arm {
    pub patterns: Vec<Word>,
    pub body: List,
    pub end: ArmEnd,
}

/// What follows an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArmEnd {
    /// `;;`
    Break,
    /// `;&`
    Fall,
    /// `;;&`
    Test,
}

/// An expression between `[[` and `]]`.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Group(Box<Condition>),
    Unary(String, Word),
    Binary(Word, String, Word),
}

/// A function with the text that it was written in.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its name.
    pub line: usize,
    /// The whole definition as written.
    pub text: String,
    /// The body as written, with its braces or parentheses.
    pub body_text: String,
    pub(crate) body: Command,
}

/// A word as written, without continued lines.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub text: String,
    pub line: usize,
    /// The elements, where the word is `name=(...)`; `text` then ends before the parenthesis.
    pub elements: Option<Vec<Word>>,
}

/// A redirection.
#[derive(Debug, Clone)]
pub(crate) struct Redirect {
    /// What stands before the operator: a number, `{name}` or nothing.
    pub left: String,
    pub operator: String,
    pub target: Word,
    pub document: Option<Document>,
}

/// The text of a here-document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Document {
    /// Its number in the text, until the text is known.
    pub number: usize,
    pub quoted: bool,
    pub body: String,
    pub delimiter: String,
}
