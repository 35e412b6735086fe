// converters/src/shell/print.rs
//! Writes a function as bash's `declare -f` does.
//!
//! makepkg finds what a package overrides in that text, line by line, so what stands on a line of its own there is what counts.

use std::fmt::Write;

use super::parse::parse;
use super::syntax::{Arm, ArmEnd, Command, Condition, Function, Kind, Link, List, Redirect, Statement, Word};

/// Returns a function's definition as `declare -f` prints it.
#[must_use]
pub fn function(function: &Function) -> String {
    let mut printer = Printer::default();
    let _ = writeln!(printer.out, "{} () ", function.name);
    printer.function_body(&function.body);
    printer.out.push('\n');
    printer.out
}

#[derive(Default)]
struct Printer<'a> {
    out: String,
    indent: usize,
    documents: Vec<&'a Redirect>,
    inline: bool,
}

impl<'a> Printer<'a> {
    fn newline(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', self.indent));
    }

    fn function_body(&mut self, body: &'a Command) {
        self.out.extend(std::iter::repeat_n(' ', self.indent));
        if matches!(body.kind, Kind::Group(_)) {
            self.command(body);
            return;
        }
        self.out.push_str("{ ");
        self.indent += 4;
        self.newline();
        self.command(body);
        self.indent -= 4;
        self.newline();
        self.out.push('}');
    }

    /// Statements with what stands between them; nothing behind the last one.
    fn list(&mut self, list: &'a List) {
        for (index, statement) in list.iter().enumerate() {
            self.statement(statement);
            let last = index + 1 == list.len();
            if statement.background {
                self.out.push_str(" &");
                if !last {
                    self.out.push(' ');
                }
            } else if !last {
                if self.inline {
                    self.out.push_str("; ");
                    continue;
                }
                self.end_of_line();
                self.newline();
            }
        }
    }

    /// A semicolon, or the here-documents of the line instead of it.
    fn end_of_line(&mut self) {
        if self.documents.is_empty() {
            if !self.out.ends_with('&') {
                self.out.push(';');
            }
        } else {
            self.documents();
        }
    }

    fn documents(&mut self) {
        for redirect in std::mem::take(&mut self.documents) {
            if let Some(document) = &redirect.document {
                let _ = write!(self.out, "\n{}{}\n", document.body, document.delimiter);
            }
        }
    }

    fn block(&mut self, list: &'a List) {
        self.indent += 4;
        self.newline();
        self.list(list);
        if !list.is_empty() {
            self.end_of_line();
        }
        self.indent -= 4;
        self.newline();
    }

    fn statement(&mut self, statement: &'a Statement) {
        self.pipeline(&statement.first);
        for (link, pipeline) in &statement.rest {
            self.out.push_str(if *link == Link::And { " && " } else { " || " });
            self.pipeline(pipeline);
        }
    }

    fn pipeline(&mut self, pipeline: &'a super::syntax::Pipeline) {
        if pipeline.timed {
            self.out.push_str("time ");
        }
        if pipeline.negated {
            self.out.push_str("! ");
        }
        for (index, command) in pipeline.commands.iter().enumerate() {
            if index > 0 {
                self.out.push_str(" |");
                if self.documents.is_empty() {
                    self.out.push(' ');
                } else {
                    self.documents();
                    self.out.push_str("  ");
                }
            }
            self.command(command);
        }
    }

    fn command(&mut self, command: &'a Command) {
        match &command.kind {
            Kind::Simple { assignments, words } => {
                for (index, word) in assignments.iter().chain(words).enumerate() {
                    if index > 0 {
                        self.out.push(' ');
                    }
                    self.word(word);
                }
            }
            Kind::Group(list) => {
                self.out.push_str("{ ");
                self.indent += 4;
                self.newline();
                self.list(list);
                if !self.documents.is_empty() {
                    self.documents();
                }
                self.indent -= 4;
                self.newline();
                self.out.push('}');
            }
            Kind::Subshell(list) => {
                self.out.push_str("( ");
                self.list(list);
                self.out.push_str(" )");
            }
            Kind::If { condition, body, otherwise } => {
                self.out.push_str("if ");
                self.list(condition);
                self.out.push_str("; then");
                self.block(body);
                if let Some(list) = otherwise {
                    self.out.push_str("else");
                    self.block(list);
                }
                self.out.push_str("fi");
            }
            Kind::While { until, condition, body } => {
                self.out.push_str(if *until { "until " } else { "while " });
                self.list(condition);
                self.out.push_str("; do");
                self.block(body);
                self.out.push_str("done");
            }
            Kind::For { select, name, words, body } => {
                let _ = write!(self.out, "{} {name} in ", if *select { "select" } else { "for" });
                match words {
                    Some(words) => self.words(words),
                    None => self.out.push_str("\"$@\""),
                }
                self.out.push(';');
                self.newline();
                self.out.push_str("do");
                self.block(body);
                self.out.push_str("done");
            }
            Kind::Count { start, test, step, body } => {
                let one = |text: &'a str| if text.is_empty() { "1" } else { text };
                let _ = write!(self.out, "for (({}; {}; {}))", one(start), one(test), one(step));
                self.newline();
                self.out.push_str("do");
                self.block(body);
                self.out.push_str("done");
            }
            Kind::Case { word, arms } => {
                self.case(word, arms);
            }
            Kind::Arithmetic(text) => {
                let _ = write!(self.out, "(({text}))");
            }
            Kind::Test(condition) => {
                self.out.push_str("[[ ");
                self.condition(condition);
                self.out.push_str(" ]]");
            }
            Kind::Function(function) => {
                let _ = writeln!(self.out, "function {} () ", function.name);
                // A function is shared, so its text is printed apart.
                let mut inner = Printer { indent: self.indent, ..Printer::default() };
                inner.function_body(&function.body);
                self.out.push_str(&inner.out);
            }
            Kind::Coprocess(inner) => {
                self.out.push_str("coproc ");
                self.command(inner);
            }
        }
        for redirect in &command.redirects {
            self.redirect(redirect);
        }
    }

    fn case(&mut self, word: &'a Word, arms: &'a [Arm]) {
        self.out.push_str("case ");
        self.word(word);
        self.out.push_str(" in ");
        self.indent += 4;
        for arm in arms {
            self.newline();
            for (index, pattern) in arm.patterns.iter().enumerate() {
                if index > 0 {
                    self.out.push_str(" | ");
                }
                self.word(pattern);
            }
            self.out.push(')');
            self.indent += 4;
            self.newline();
            if arm.body.is_empty() {
                // Bash leaves the line empty.
                self.out.truncate(self.out.trim_end_matches(' ').len());
            } else {
                self.list(&arm.body);
                self.documents();
            }
            self.indent -= 4;
            self.newline();
            self.out.push_str(match arm.end {
                ArmEnd::Break => ";;",
                ArmEnd::Fall => ";&",
                ArmEnd::Test => ";;&",
            });
        }
        self.indent -= 4;
        self.newline();
        self.out.push_str("esac");
    }

    fn redirect(&mut self, redirect: &'a Redirect) {
        let to_descriptor = redirect.target.text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let (mut left, space) = match redirect.operator.as_str() {
            "<&" | ">&" if to_descriptor => (redirect.left.as_str(), ""),
            "<<" | "<<-" => (redirect.left.as_str(), ""),
            _ => (redirect.left.as_str(), " "),
        };
        let mut operator = redirect.operator.as_str();
        if space.is_empty() && redirect.document.is_none() {
            if left.is_empty() {
                left = if operator == ">&" { "1" } else { "0" };
            }
            if redirect.target.text == "-" {
                operator = ">&";
            }
        } else if operator == ">&" && left.is_empty() {
            operator = "&>";
        }
        let _ = write!(self.out, " {left}{operator}{space}");
        if operator == "<<" || operator == "<<-" {
            self.out.push_str(&redirect.target.text);
            self.documents.push(redirect);
        } else {
            self.word(&redirect.target);
        }
    }

    fn words(&mut self, words: &'a [Word]) {
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                self.out.push(' ');
            }
            self.word(word);
        }
    }

    fn word(&mut self, word: &'a Word) {
        self.out.push_str(&with_plain_substitutions(&word.text));
        if let Some(elements) = &word.elements {
            self.out.push('(');
            self.words(elements);
            self.out.push(')');
        }
    }

    fn condition(&mut self, condition: &'a Condition) {
        match condition {
            Condition::Not(inner) => {
                self.out.push_str("! ");
                self.condition(inner);
            }
            Condition::And(left, right) => {
                self.condition(left);
                self.out.push_str(" && ");
                self.condition(right);
            }
            Condition::Or(left, right) => {
                self.condition(left);
                self.out.push_str(" || ");
                self.condition(right);
            }
            Condition::Group(inner) => {
                self.out.push_str("( ");
                self.condition(inner);
                self.out.push_str(" )");
            }
            Condition::Unary(operator, word) => {
                let _ = write!(self.out, "{operator} ");
                self.word(word);
            }
            Condition::Binary(left, operator, right) => {
                self.word(left);
                let _ = write!(self.out, " {operator} ");
                self.word(right);
            }
        }
    }
}

/// Prints the commands of `$(...)` over several lines on one line, as bash keeps them.
fn with_plain_substitutions(text: &str) -> String {
    if !text.contains("$(") || !text.contains('\n') {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut parser = super::parse::Parser::new(text, 1);
    let mut from = 0;
    while parser.at < text.len() {
        let start = parser.at;
        if !parser.starts("$(") || parser.starts("$((") {
            let double = parser.peek() == Some(b'"');
            let stepped = if double {
                // The substitutions inside are looked at as well.
                parser.at += 1;
                Ok(())
            } else {
                parser.skip_one(false)
            };
            if stepped.is_err() {
                parser.at = start + 1;
            }
            continue;
        }
        if parser.skip_dollar(false).is_err() {
            break;
        }
        let inner = &text[start + 2..parser.at - 1];
        if !inner.contains('\n') || inner.contains("<<") {
            continue;
        }
        let Ok(script) = parse(inner, 1) else { continue };
        let mut printer = Printer { inline: true, ..Printer::default() };
        printer.list(&script.statements);
        out.push_str(&text[from..start + 2]);
        out.push_str(&printer.out);
        out.push(')');
        from = parser.at;
    }
    out.push_str(&text[from..]);
    out
}
