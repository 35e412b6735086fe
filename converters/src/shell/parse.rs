// converters/src/shell/parse.rs
//! From text to statements: commands, compound commands, functions, redirections.
//!
//! A word's end is found here and in [`super::words`]; here-documents are read at the end of their line by [`super::heredoc`].
//! What bash accepts with `extglob` is always accepted.

use std::cell::Cell;
use std::rc::Rc;

use super::syntax::{Arm, ArmEnd, Command, Function, Kind, Link, List, Pipeline, Redirect, Script, Statement, Word};

/// Nested deeper than this is no PKGBUILD.
const DEEPEST: usize = 48;

/// A text that is not shell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SyntaxError {
    /// The line.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

/// Parses a text whose first line has this number.
///
/// # Errors
/// [`SyntaxError`] where bash would refuse the text as well, and for nesting that no PKGBUILD has.
pub fn parse(text: &str, first_line: usize) -> Result<Script, SyntaxError> {
    let mut parser = Parser::new(text, first_line);
    let mut statements = parser.list()?;
    if parser.at < text.len() {
        return Err(parser.unexpected());
    }
    parser.attach(&mut statements);
    Ok(Script { statements })
}

/// Parses `name=(...)`; nothing if the text is anything else.
pub(super) fn assignment_word(text: &str, line: usize) -> Option<Word> {
    let mut parser = Parser::new(text, line);
    let word = parser.word().ok()??;
    (parser.at == text.len() && word.elements.is_some()).then_some(word)
}

pub(super) struct Parser<'t> {
    pub text: &'t str,
    pub bytes: &'t [u8],
    pub at: usize,
    first_line: usize,
    counted: Cell<(usize, usize)>,
    pub pending: Vec<super::heredoc::Pending>,
    pub documents: Vec<String>,
    pub depth: usize,
}

pub(super) type Parsed<T> = Result<T, SyntaxError>;

/// Words that end a list where a command could begin.
const CLOSERS: [&str; 8] = ["then", "else", "elif", "fi", "do", "done", "esac", "}"];

impl<'t> Parser<'t> {
    pub fn new(text: &'t str, first_line: usize) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            first_line,
            counted: Cell::new((0, first_line)),
            pending: Vec::new(),
            documents: Vec::new(),
            depth: 0,
        }
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub fn byte(&self, offset: usize) -> Option<u8> {
        self.bytes.get(self.at + offset).copied()
    }

    pub fn starts(&self, text: &str) -> bool {
        self.bytes[self.at..].starts_with(text.as_bytes())
    }

    pub fn line(&self) -> usize {
        let (at, line) = self.counted.get();
        let (from, line) = if self.at >= at { (at, line) } else { (0, self.first_line) };
        let count = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count() - 1;
        let line = line + count(&self.bytes[from..self.at.min(self.bytes.len())]);
        self.counted.set((self.at.min(self.bytes.len()), line));
        line
    }

    pub fn error<T>(&self, what: impl Into<String>) -> Parsed<T> {
        Err(SyntaxError { line: self.line(), what: what.into() })
    }

    pub(super) fn unexpected(&self) -> SyntaxError {
        let rest: String =
            self.text.get(self.at..).unwrap_or_default().chars().take_while(|c| !c.is_whitespace()).take(20).collect();
        let what = if self.at >= self.bytes.len() {
            "the file ends too early".to_owned()
        } else {
            format!("unexpected `{rest}`")
        };
        SyntaxError { line: self.line(), what }
    }

    pub fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEEPEST {
            return self.error(format!("more than {DEEPEST} levels of nesting"));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    /// Skips blanks, continued lines and, where a word could begin, a comment.
    pub fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\\') if self.byte(1) == Some(b'\n') => self.at += 2,
                Some(b'#') => {
                    self.at += self.bytes[self.at..].iter().take_while(|byte| **byte != b'\n').count();
                }
                _ => return,
            }
        }
    }

    pub fn skip_newlines(&mut self) -> Parsed<()> {
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'\n') {
                return Ok(());
            }
            self.newline();
        }
    }

    fn newline(&mut self) {
        self.at += 1;
        self.read_documents();
    }

    /// The plain word at this place, for reserved words.
    pub(super) fn plain(&self) -> &'t str {
        let length = self.bytes[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'{' | b'}' | b'!' | b'[' | b']'))
            .count();
        let end = self.at + length;
        let ended = self.bytes.get(end).is_none_or(|byte| b" \t\n;&|<>()".contains(byte))
            || self.bytes[end..].starts_with(b"\\\n");
        if ended { &self.text[self.at..end] } else { "" }
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.plain() == word;
        if found {
            self.at += word.len();
        }
        found
    }

    fn expect(&mut self, word: &str) -> Parsed<()> {
        self.skip_newlines()?;
        if self.eat(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(super) fn expect_byte(&mut self, byte: u8) -> Parsed<()> {
        self.skip_blanks();
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected())
    }

    fn list_ends(&self) -> bool {
        match self.peek() {
            None | Some(b')') => true,
            Some(b';') => matches!(self.byte(1), Some(b';' | b'&')),
            _ => CLOSERS.contains(&self.plain()),
        }
    }

    pub fn list(&mut self) -> Parsed<List> {
        self.deeper(|parser| {
            let mut statements = Vec::new();
            loop {
                parser.skip_newlines()?;
                if parser.list_ends() {
                    return Ok(statements);
                }
                let mut statement = parser.statement()?;
                parser.skip_blanks();
                match parser.peek() {
                    Some(b'\n') => parser.newline(),
                    Some(b';') if !parser.list_ends() => parser.at += 1,
                    Some(b'&') => {
                        parser.at += 1;
                        statement.background = true;
                    }
                    _ if parser.list_ends() => {}
                    _ => return Err(parser.unexpected()),
                }
                statements.push(statement);
            }
        })
    }

    /// A list that must hold something.
    fn body(&mut self) -> Parsed<List> {
        let list = self.list()?;
        if list.is_empty() {
            return Err(self.unexpected());
        }
        Ok(list)
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.skip_blanks();
            let link = match () {
                () if self.starts("&&") => Link::And,
                () if self.starts("||") => Link::Or,
                () => return Ok(Statement { first, rest, background: false }),
            };
            self.at += 2;
            self.skip_newlines()?;
            rest.push((link, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        let (mut negated, mut timed) = (false, false);
        loop {
            self.skip_blanks();
            if self.peek() == Some(b'!') && matches!(self.byte(1), Some(b' ' | b'\t' | b'\n' | b'(')) {
                self.at += 1;
                negated = !negated;
            } else if self.eat("time") {
                timed = true;
                self.skip_blanks();
                if self.starts("-p ") {
                    self.at += 2;
                }
            } else {
                break;
            }
        }
        let mut commands = vec![self.command()?];
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'|') || self.byte(1) == Some(b'|') {
                return Ok(Pipeline { negated, timed, commands });
            }
            self.at += 1;
            if self.peek() == Some(b'&') {
                self.at += 1;
                if let Some(last) = commands.last_mut() {
                    let target = Word { text: "1".to_owned(), line: last.line, elements: None };
                    let operator = ">&".to_owned();
                    last.redirects.push(Redirect { left: "2".to_owned(), operator, target, document: None });
                }
            }
            self.skip_newlines()?;
            commands.push(self.command()?);
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let line = self.line();
        let Some(kind) = self.compound()? else { return self.simple(line) };
        let mut redirects = Vec::new();
        if !matches!(kind, Kind::Function(_) | Kind::Coprocess(_)) {
            self.skip_blanks();
            while let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                self.skip_blanks();
            }
        }
        Ok(Command { line, kind, redirects })
    }

    fn compound(&mut self) -> Parsed<Option<Kind>> {
        if self.peek() == Some(b'(') {
            return self.parentheses().map(Some);
        }
        let word = self.plain();
        let kind = match word {
            "{" => {
                self.at += 1;
                let list = self.body()?;
                self.expect("}")?;
                Kind::Group(list)
            }
            "[[" => {
                self.at += 2;
                let condition = self.deeper(Self::condition)?;
                self.skip_newlines()?;
                if !self.eat("]]") {
                    return Err(self.unexpected());
                }
                Kind::Test(condition)
            }
            "if" => {
                self.at += 2;
                self.if_clause()?
            }
            "while" | "until" => {
                self.at += 5;
                let condition = self.body()?;
                Kind::While { until: word == "until", condition, body: self.loop_body()? }
            }
            "for" => {
                self.at += 3;
                self.for_clause(false)?
            }
            "select" => {
                self.at += 6;
                self.for_clause(true)?
            }
            "case" => {
                self.at += 4;
                self.case_clause()?
            }
            "function" => {
                let start = self.at;
                let line = self.line();
                self.at += 8;
                self.skip_blanks();
                let Some(name) = self.word()? else { return Err(self.unexpected()) };
                self.skip_blanks();
                if self.peek() == Some(b'(') {
                    self.at += 1;
                    self.expect_byte(b')')?;
                }
                self.function(name.text, start, line)?
            }
            "coproc" => {
                self.at += 6;
                self.skip_blanks();
                Kind::Coprocess(Box::new(self.deeper(Self::command)?))
            }
            _ => return Ok(None),
        };
        Ok(Some(kind))
    }

    fn parentheses(&mut self) -> Parsed<Kind> {
        if self.byte(1) == Some(b'(') {
            let start = self.at;
            self.at += 2;
            if self.skip_arithmetic()? {
                return Ok(Kind::Arithmetic(self.text[start + 2..self.at - 2].to_owned()));
            }
            self.at = start;
        }
        self.at += 1;
        let list = self.body()?;
        self.expect_byte(b')')?;
        Ok(Kind::Subshell(list))
    }

    fn if_clause(&mut self) -> Parsed<Kind> {
        let condition = self.body()?;
        self.expect("then")?;
        let body = self.body()?;
        self.skip_newlines()?;
        let otherwise = if self.eat("fi") {
            None
        } else if self.eat("else") {
            let list = self.body()?;
            self.expect("fi")?;
            Some(list)
        } else if self.plain() == "elif" {
            let line = self.line();
            self.at += 4;
            let kind = self.deeper(Self::if_clause)?;
            let command = Command { line, kind, redirects: Vec::new() };
            let first = Pipeline { negated: false, timed: false, commands: vec![command] };
            Some(vec![Statement { first, rest: Vec::new(), background: false }])
        } else {
            return Err(self.unexpected());
        };
        Ok(Kind::If { condition, body, otherwise })
    }

    fn loop_body(&mut self) -> Parsed<List> {
        self.skip_newlines()?;
        if self.eat("{") {
            let list = self.body()?;
            self.expect("}")?;
            return Ok(list);
        }
        self.expect("do")?;
        let list = self.body()?;
        self.expect("done")?;
        Ok(list)
    }

    fn for_clause(&mut self, select: bool) -> Parsed<Kind> {
        self.skip_blanks();
        if self.starts("((") {
            self.at += 2;
            let start = self.at;
            if !self.skip_arithmetic()? {
                return Err(self.unexpected());
            }
            let parts: Vec<&str> = self.text[start..self.at - 2].split(';').map(str::trim).collect();
            let [first, test, step] = parts[..] else { return self.error("`for ((` needs three expressions") };
            let (start, test, step) = (first.to_owned(), test.to_owned(), step.to_owned());
            self.skip_blanks();
            if self.peek() == Some(b';') {
                self.at += 1;
            }
            return Ok(Kind::Count { start, test, step, body: self.loop_body()? });
        }
        let Some(name) = self.word()? else { return Err(self.unexpected()) };
        self.skip_newlines()?;
        let mut words = None;
        if self.eat("in") {
            let mut list = Vec::new();
            loop {
                self.skip_blanks();
                match self.word()? {
                    Some(word) => list.push(word),
                    None => break,
                }
            }
            words = Some(list);
        }
        self.skip_blanks();
        if self.peek() == Some(b';') {
            self.at += 1;
        }
        Ok(Kind::For { select, name: name.text, words, body: self.loop_body()? })
    }

    fn case_clause(&mut self) -> Parsed<Kind> {
        self.skip_blanks();
        let Some(word) = self.word()? else { return Err(self.unexpected()) };
        self.expect("in")?;
        let mut arms = Vec::new();
        loop {
            self.skip_newlines()?;
            if self.eat("esac") {
                return Ok(Kind::Case { word, arms });
            }
            if self.peek() == Some(b'(') {
                self.at += 1;
            }
            let mut patterns = Vec::new();
            loop {
                self.skip_blanks();
                let Some(pattern) = self.word()? else { return Err(self.unexpected()) };
                patterns.push(pattern);
                self.skip_blanks();
                match self.peek() {
                    Some(b'|') => self.at += 1,
                    Some(b')') => break,
                    _ => return Err(self.unexpected()),
                }
            }
            self.at += 1;
            let body = self.list()?;
            let end = if self.starts(";;&") {
                self.at += 3;
                ArmEnd::Test
            } else if self.starts(";;") {
                self.at += 2;
                ArmEnd::Break
            } else if self.starts(";&") {
                self.at += 2;
                ArmEnd::Fall
            } else if self.plain() == "esac" {
                ArmEnd::Break
            } else {
                return Err(self.unexpected());
            };
            arms.push(Arm { patterns, body, end });
        }
    }

    fn function(&mut self, name: String, start: usize, line: usize) -> Parsed<Kind> {
        self.skip_newlines()?;
        let body_start = self.at;
        let documents = self.documents.len();
        let mut body = self.deeper(Self::command)?;
        if matches!(body.kind, Kind::Simple { .. } | Kind::Function(_) | Kind::Coprocess(_)) {
            self.at = body_start;
            return Err(self.unexpected());
        }
        // Documents that stand behind the body's last line are not read yet, and are found when the whole is.
        super::heredoc::attach_command(&mut body, &self.documents, documents);
        let (text, body_text) = (self.text[start..self.at].to_owned(), self.text[body_start..self.at].to_owned());
        Ok(Kind::Function(Rc::new(Function { name, line, text, body_text, body })))
    }

    fn simple(&mut self, line: usize) -> Parsed<Command> {
        let start = self.at;
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.skip_blanks();
            if let Some(redirect) = self.redirect()? {
                redirects.push(redirect);
                continue;
            }
            let Some(word) = self.word()? else { break };
            if words.is_empty() && super::words::assignment(&word.text).is_some() {
                assignments.push(word);
                continue;
            }
            if words.is_empty() && assignments.is_empty() && redirects.is_empty() {
                self.skip_blanks();
                if self.peek() == Some(b'(') {
                    self.at += 1;
                    self.expect_byte(b')')?;
                    let kind = self.function(word.text, start, line)?;
                    return Ok(Command { line, kind, redirects });
                }
            }
            let takes_lists = |name: &Word| {
                super::builtins::is_declaration(&name.text) || ["alias", "eval", "let"].contains(&&*name.text)
            };
            if word.elements.is_some() && !words.first().is_some_and(takes_lists) {
                return self.error("an array as an argument");
            }
            words.push(word);
        }
        if words.is_empty() && assignments.is_empty() && redirects.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Command { line, kind: Kind::Simple { assignments, words }, redirects })
    }

    fn redirect(&mut self) -> Parsed<Option<Redirect>> {
        const OPERATORS: [&str; 14] = ["&>>", "<<<", "<<-", "<<", "<>", "<&", "<", ">>", ">&", ">|", "&>", ">", "", ""];
        let start = self.at;
        let digits = self.bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let mut left = digits;
        if self.peek() == Some(b'{') {
            let inner = self.bytes[start + 1..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
            if inner > 0 && self.byte(inner + 1) == Some(b'}') {
                left = inner + 2;
            }
        }
        let rest = &self.bytes[start + left..];
        let Some(operator) = OPERATORS.iter().find(|op| !op.is_empty() && rest.starts_with(op.as_bytes())) else {
            return Ok(None);
        };
        if left == 0 && matches!(rest, [b'<' | b'>', b'(', ..]) || (left > 0 && operator.starts_with('&')) {
            return Ok(None);
        }
        let left = self.text[start..start + left].to_owned();
        self.at = start + left.len() + operator.len();
        self.skip_blanks();
        let line = self.line();
        let Some(target) = self.word()? else {
            return self.error(format!("`{operator}` needs a word behind it"));
        };
        let document = match *operator {
            "<<" | "<<-" => Some(self.announce(&target, *operator == "<<-", line)),
            _ => None,
        };
        Ok(Some(Redirect { left, operator: (*operator).to_owned(), target, document }))
    }
}
