// conary/exit.rs
//! The exit codes of every command, for scripts.
//!
//! The table below is the one that `--help` and `docs/exit-codes.md` show. A number never changes its meaning.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// What was asked for is done.
    Success = 0,
    /// An error that no other code names.
    General = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// A recipe has errors.
    Recipe = 3,
    /// A source could not be had, or is not what the recipe says.
    Source = 4,
    /// A step of a build failed, or its output is not a package.
    Build = 5,
    /// The sandbox could not be set up.
    Sandbox = 6,
    /// A package or the store is damaged.
    Damaged = 7,
    /// The root refuses the change: a conflict, a missing requirement, an edited file, or a "no".
    Refused = 8,
    /// Another process holds what this command needs.
    Busy = 9,
    /// A package, recipe, path or log that was named does not exist.
    NotFound = 10,
    /// The system said no: read-only, full, or not permitted.
    System = 11,
    /// A limit on time, memory or size was reached.
    Limit = 12,
    /// Ctrl-C or a request to terminate.
    Interrupted = 130,
}

/// Every code with the words that help pages show.
pub const TABLE: &[(Code, &str)] = &[
    (Code::Success, "done"),
    (Code::General, "an error that no other code names"),
    (Code::Usage, "the command line cannot be understood"),
    (Code::Recipe, "a recipe has errors"),
    (Code::Source, "a source could not be had, or is not what the recipe says"),
    (Code::Build, "a step of a build failed, or its output is not a package"),
    (Code::Sandbox, "the sandbox could not be set up"),
    (Code::Damaged, "a package, the store or an installed file is damaged"),
    (Code::Refused, "the root refuses the change: a conflict, a missing requirement, or not confirmed"),
    (Code::Busy, "another process holds the root, the store or the cook"),
    (Code::NotFound, "what was named does not exist"),
    (Code::System, "the system said no: read-only, full, or not permitted"),
    (Code::Limit, "a limit on time, memory or size was reached"),
    (Code::Interrupted, "interrupted"),
];

impl Code {
    /// The words for this code.
    pub fn meaning(self) -> &'static str {
        TABLE.iter().find(|(code, _)| *code == self).map_or("", |(_, words)| words)
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// The section of a help page that lists `codes`; 0, 1 and 2 belong to every command.
pub fn section(codes: &[Code]) -> String {
    let mut all = vec![Code::Success, Code::General, Code::Usage];
    all.extend_from_slice(codes);
    all.sort_unstable();
    all.dedup();
    let rows: Vec<String> = all.iter().map(|code| format!("\n  {:>3}  {}", *code as u8, code.meaning())).collect();
    format!("Exit codes:{}", rows.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table_once_and_in_order() {
        let numbers: Vec<u8> = TABLE.iter().map(|(code, _)| *code as u8).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130]);
        assert!(TABLE.iter().all(|(code, words)| code.meaning() == *words));
    }

    #[test]
    fn a_section_has_the_common_codes() {
        let text = section(&[Code::Busy]);
        assert!(text.contains("    0  done") && text.contains("    9  another process"), "{text}");
    }
}
