// converters/src/shell/heredoc.rs
//! Here-documents: announced by a redirection, read when the line ends, and then put where they were announced.

use super::parse::Parser;
use super::syntax::{Command, Document, Kind, List, Word};

/// A document whose text begins on the next line.
pub(super) struct Pending {
    number: usize,
    delimiter: String,
    strip: bool,
    quoted: bool,
}

impl Parser<'_> {
    /// Notes a document, and returns the place that will hold it.
    pub fn announce(&mut self, word: &Word, strip: bool, _line: usize) -> Document {
        let quoted = word.text.contains(['\'', '"', '\\']);
        let mut delimiter = String::new();
        let mut chars = word.text.chars();
        let mut quote = None;
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (_, Some(open)) if open == c => quote = None,
                ('\\', None) => delimiter.extend(chars.next()),
                _ => delimiter.push(c),
            }
        }
        let number = self.documents.len();
        self.documents.push(String::new());
        self.pending.push(Pending { number, delimiter: delimiter.clone(), strip, quoted });
        Document { number, quoted, body: String::new(), delimiter }
    }

    /// Reads the texts of the documents that the line before announced.
    pub fn read_documents(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            let mut body = String::new();
            while self.at < self.bytes.len() {
                let start = self.at;
                let mut line = self.document_line(pending.quoted);
                if pending.strip {
                    line.drain(..line.len() - line.trim_start_matches('\t').len());
                }
                let plain = line.strip_suffix('\n').unwrap_or(&line);
                if plain == pending.delimiter {
                    break;
                }
                // Inside a substitution the closing parenthesis may stand on the same line.
                let behind = plain.strip_prefix(pending.delimiter.as_str()).filter(|_| !pending.delimiter.is_empty());
                if self.depth > 1 && behind.is_some_and(|behind| behind.starts_with(')')) {
                    let tabs = self.text[start..].bytes().take_while(|byte| pending.strip && *byte == b'\t').count();
                    self.at = start + tabs + pending.delimiter.len();
                    break;
                }
                body.push_str(&line);
            }
            self.documents[pending.number] = body;
        }
    }

    /// Reads a line with the lines that continue it.
    fn document_line(&mut self, quoted: bool) -> String {
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
            let line = &rest[..length];
            self.at += length;
            let start = line.strip_suffix("\\\n").filter(|_| !quoted);
            let Some(start) =
                start.filter(|start| start.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0)
            else {
                out.push_str(line);
                return out;
            };
            out.push_str(start);
        }
    }

    /// Puts every document where it was announced.
    pub fn attach(&self, statements: &mut List) {
        attach_list(statements, &self.documents, 0);
    }
}

fn attach_list(list: &mut List, documents: &[String], from: usize) {
    for statement in list {
        for command in &mut statement.first.commands {
            attach_command(command, documents, from);
        }
        for (_, pipeline) in &mut statement.rest {
            for command in &mut pipeline.commands {
                attach_command(command, documents, from);
            }
        }
    }
}

/// Puts the documents of one command, from a number on, in their places.
pub(super) fn attach_command(command: &mut Command, documents: &[String], from: usize) {
    for redirect in &mut command.redirects {
        if let Some(document) = &mut redirect.document
            && document.number >= from
            && let Some(text) = documents.get(document.number)
        {
            document.body.clone_from(text);
        }
    }
    match &mut command.kind {
        Kind::Group(list) | Kind::Subshell(list) | Kind::For { body: list, .. } | Kind::Count { body: list, .. } => {
            attach_list(list, documents, from);
        }
        Kind::If { condition, body, otherwise } => {
            attach_list(condition, documents, from);
            attach_list(body, documents, from);
            if let Some(list) = otherwise {
                attach_list(list, documents, from);
            }
        }
        Kind::While { condition, body, .. } => {
            attach_list(condition, documents, from);
            attach_list(body, documents, from);
        }
        Kind::Case { arms, .. } => arms.iter_mut().for_each(|arm| attach_list(&mut arm.body, documents, from)),
        Kind::Coprocess(inner) => attach_command(inner, documents, from),
        Kind::Simple { .. } | Kind::Arithmetic(_) | Kind::Test(_) | Kind::Function(_) => {}
    }
}
