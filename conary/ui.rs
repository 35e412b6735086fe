// conary/ui.rs
//! The only writer: data on stdout, the story on stderr.
//!
//! The story is one line for each thing that is done, its verb in the past tense and aligned. On a terminal, live
//! lines below it show what goes on ([`live`]); elsewhere there are plain lines only. Whatever comes from outside
//! is made safe first ([`text`]).
//!
//! A reader of stdout that goes away (`conary list | head -1`) ends the output quietly and not the command.

pub mod live;
pub mod text;

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::environment::Environment;
use crate::exit::Code;
use crate::failure::Failure;
use live::{Live, Task};

/// Width of the verbs.
const VERB: usize = 12;

/// Where everything is written.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent fact of the terminal or a flag")]
pub struct Ui {
    quiet: bool,
    verbose: bool,
    colour: bool,
    stdout_is_terminal: bool,
    stdin_is_terminal: bool,
    live_lines: bool,
    live: OnceLock<Live>,
    reader_gone: AtomicBool,
}

/// What is said when the process cannot go on because the system refused it a page of a file.
pub const PAGE_REFUSED: &str = "error: the system refused a page of a database's index (SIGBUS)\n\
hint: the disk is full, a quota is used up, or the disk failed; the next command that may write puts right what was under way\n";

/// How a word is coloured.
#[derive(Debug, Clone, Copy)]
enum Style {
    Verb,
    Error,
    Warning,
    Hint,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Verb => "1;32",
            Self::Error => "1;31",
            Self::Warning => "1;33",
            Self::Hint => "1;36",
        }
    }
}

impl Ui {
    /// A writer for these surroundings.
    pub fn new(environment: &Environment, quiet: bool, verbose: bool) -> Self {
        Self {
            quiet,
            verbose,
            colour: environment.colour,
            stdout_is_terminal: environment.stdout_is_terminal,
            stdin_is_terminal: environment.stdin_is_terminal,
            live_lines: environment.live && !quiet,
            live: OnceLock::new(),
            reader_gone: AtomicBool::new(false),
        }
    }

    /// Writes one line of data.
    ///
    /// # Errors
    /// When stdout cannot be written, for another reason than a reader that went away.
    pub fn line(&self, line: &str) -> Result<(), Failure> {
        let shown = if self.stdout_is_terminal { text::safe(line) } else { line.into() };
        self.bytes(format!("{shown}\n").as_bytes())
    }

    /// Writes several lines of data that end with a line end.
    ///
    /// # Errors
    /// As [`Ui::line`].
    pub fn lines(&self, lines: &str) -> Result<(), Failure> {
        let shown = if self.stdout_is_terminal { text::safe_lines(lines) } else { lines.into() };
        self.bytes(shown.as_bytes())
    }

    /// Writes a piece of a build log: as it is into a file or pipe, made safe on a terminal.
    ///
    /// # Errors
    /// As [`Ui::line`].
    pub fn log(&self, piece: &[u8]) -> Result<(), Failure> {
        if self.stdout_is_terminal { self.bytes(text::safe_log(piece).as_bytes()) } else { self.bytes(piece) }
    }

    /// Writes one JSON document.
    ///
    /// # Errors
    /// As [`Ui::line`].
    pub fn json(&self, document: &impl Serialize) -> Result<(), Failure> {
        let mut text =
            serde_json::to_string_pretty(document).map_err(|error| Failure::of(Code::General, &error, None))?;
        text.push('\n');
        if self.stdout_is_terminal {
            self.bytes(text::safe_lines(&text).as_bytes())
        } else {
            self.bytes(text.as_bytes())
        }
    }

    /// Writes bytes to stdout as they are.
    ///
    /// # Errors
    /// As [`Ui::line`].
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        if self.reader_gone() {
            return Ok(());
        }
        let write = || {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes).and_then(|()| stdout.flush())
        };
        let written = match self.live.get() {
            Some(live) => live.suspended(write),
            None => write(),
        };
        match written {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.reader_gone.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                let mut failure = Failure::new(Code::System, "cannot write to standard output");
                failure.causes.push(error.to_string());
                Err(failure)
            }
        }
    }

    /// True once nobody reads stdout any more; a command that only prints can stop.
    pub fn reader_gone(&self) -> bool {
        self.reader_gone.load(Ordering::Relaxed)
    }

    /// Tells one thing that was done: its verb in the past tense, and what.
    pub fn story(&self, verb: &str, what: &str) {
        if !self.quiet {
            self.stderr(&format!("{} {}\n", self.paint(Style::Verb, &format!("{verb:>VERB$}")), text::safe(what)));
        }
    }

    /// Tells a detail that only `--verbose` shows.
    pub fn detail(&self, verb: &str, what: &str) {
        if self.verbose {
            self.story(verb, what);
        }
    }

    /// Says that something deserves a look, also when quiet.
    pub fn warning(&self, message: &str) {
        self.stderr(&format!("{}: {}\n", self.paint(Style::Warning, "warning"), text::safe_lines(message)));
    }

    /// True when the output of builds is shown while they run.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Shows output of a build, when `--verbose` asks for it.
    pub fn output(&self, piece: &[u8]) {
        if self.verbose && !self.quiet {
            self.stderr(&text::safe_log(piece));
        }
    }

    /// Shows lines of foreign text below a failure, as they are but safe.
    pub fn quote(&self, lines: &[u8]) {
        let mut shown = text::safe_log(lines);
        if !shown.is_empty() && !shown.ends_with('\n') {
            shown.push('\n');
        }
        self.stderr(&shown);
    }

    /// Shows why a command failed.
    pub fn failure(&self, failure: &Failure) {
        let mut lines: Vec<String> = Vec::new();
        if !failure.message.is_empty() {
            lines.push(format!("{}: {}", self.paint(Style::Error, "error"), text::safe_lines(&failure.message)));
        }
        lines.extend(failure.causes.iter().map(|cause| format!("  cause: {}", text::safe_lines(cause))));
        lines.extend(failure.notes.iter().map(|note| format!("  {}", text::safe_lines(note))));
        if let Some(hint) = &failure.hint {
            lines.push(format!("{}: {}", self.paint(Style::Hint, "hint"), text::safe_lines(hint)));
        }
        self.stderr(&text::lines(lines));
    }

    /// A live line without a known end, with the time that it takes.
    pub fn task(&self, verb: &str, what: &str) -> Task {
        if !self.live_lines {
            return Task::hidden();
        }
        self.live.get_or_init(Live::new).task(&self.verb(verb), &text::safe(what))
    }

    /// A bar of bytes, of `total` when that is known.
    pub fn bar(&self, verb: &str, what: &str, total: Option<u64>) -> Task {
        if !self.live_lines {
            return Task::hidden();
        }
        self.live.get_or_init(Live::new).bar(&self.verb(verb), &text::safe(what), total)
    }

    /// Asks a question that is answered with yes or no. None where nobody can answer.
    pub fn confirm(&self, question: &str) -> Option<bool> {
        if !self.stdin_is_terminal {
            return None;
        }
        self.stderr(&format!("{} [y/N] ", text::safe(question)));
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        Some(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// Writes to stderr, past the live lines. There is nobody to tell that stderr cannot be written.
    fn stderr(&self, text: &str) {
        let write = || {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        };
        match self.live.get() {
            Some(live) => live.suspended(write),
            None => write(),
        }
    }

    fn verb(&self, verb: &str) -> String {
        self.paint(Style::Hint, &format!("{verb:>VERB$}"))
    }

    fn paint(&self, style: Style, word: &str) -> String {
        if self.colour { format!("\u{1b}[{}m{word}\u{1b}[0m", style.code()) } else { word.to_owned() }
    }
}
