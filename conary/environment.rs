// conary/environment.rs
//! What surrounds the process, read once into typed values: identity, directories, terminal, proxies, clock.
//!
//! The libraries read nothing of this themselves. Nothing here reaches a build.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The surroundings of one process.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent fact of the terminal")]
pub struct Environment {
    /// The effective user id.
    pub uid: u32,
    /// The directory that the command was started in.
    pub directory: PathBuf,
    /// Where temporary directories go: `TMPDIR`, else `/tmp`.
    pub scratch: PathBuf,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_DATA_HOME`, when it is absolute.
    pub data_home: Option<PathBuf>,
    /// Proxies for downloads.
    pub proxies: Proxies,
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    pub certificates: Certificates,
    /// Stderr is a terminal that understands cursor movement.
    pub live: bool,
    /// Stderr may be coloured.
    pub colour: bool,
    /// Stdout is a terminal.
    pub stdout_is_terminal: bool,
    /// Stdin is a terminal, so that a question can be answered.
    pub stdin_is_terminal: bool,
    /// `CONARY_LOG`: which debug messages to show.
    pub log: Option<String>,
    /// The command line, for the history of a root.
    pub command_line: String,
}

/// The proxy variables that curl and others read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `http_proxy`. The upper-case name is not read: a web server would let its client set it.
    pub http: Option<String>,
    /// `https_proxy` or `HTTPS_PROXY`.
    pub https: Option<String>,
    /// `all_proxy` or `ALL_PROXY`.
    pub all: Option<String>,
    /// `no_proxy` or `NO_PROXY`.
    pub none: Option<String>,
}

/// Where the user says that trusted certificates are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// A file of PEM certificates, used instead of the host's.
    pub file: Option<PathBuf>,
    /// A directory of PEM files, used instead of the host's.
    pub directory: Option<PathBuf>,
}

impl Environment {
    /// Reads the surroundings.
    ///
    /// # Errors
    /// When the current directory does not exist any more.
    pub fn read() -> io::Result<Self> {
        let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let either = |lower: &str, upper: &str| text(lower).or_else(|| text(upper));
        let live = io::stderr().is_terminal() && text("TERM").is_some_and(|term| term != "dumb");
        Ok(Self {
            uid: rustix::process::geteuid().as_raw(),
            directory: env::current_dir()?,
            scratch: env::temp_dir(),
            home: path("HOME"),
            data_home: path("XDG_DATA_HOME").filter(|path| path.is_absolute()),
            proxies: Proxies {
                http: text("http_proxy"),
                https: either("https_proxy", "HTTPS_PROXY"),
                all: either("all_proxy", "ALL_PROXY"),
                none: either("no_proxy", "NO_PROXY"),
            },
            certificates: Certificates { file: path("SSL_CERT_FILE"), directory: path("SSL_CERT_DIR") },
            live,
            colour: live && text("NO_COLOR").is_none(),
            stdout_is_terminal: io::stdout().is_terminal(),
            stdin_is_terminal: io::stdin().is_terminal(),
            log: text("CONARY_LOG"),
            command_line: command_line(env::args_os()),
        })
    }

    /// The store that is used when `--store` names none.
    ///
    /// `/var/lib/conary` for root, `conary` in the user's data directory for everybody else. None for a user
    /// without a home directory.
    pub fn default_store(&self) -> Option<PathBuf> {
        if self.uid == 0 {
            return Some(PathBuf::from("/var/lib/conary"));
        }
        let data = self.data_home.clone().or_else(|| Some(self.home.as_ref()?.join(".local/share")))?;
        Some(data.join("conary"))
    }

    /// A path of the command line, made absolute.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// The name of the user, as far as the host's user table has it.
    pub fn user_name(&self) -> String {
        let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
        user_in(&table, self.uid).unwrap_or_else(|| self.uid.to_string())
    }
}

/// Seconds since 1970.
pub fn now_unix_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The name that a user table gives to `uid`.
fn user_in(table: &str, uid: u32) -> Option<String> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The words of a command line as one line that a shell would read the same way.
fn command_line(words: impl Iterator<Item = OsString>) -> String {
    let words = words.enumerate().map(|(index, word)| {
        let word = word.to_string_lossy();
        let word = match (index, word.rsplit('/').next()) {
            (0, Some(program)) => program.to_owned(),
            _ => word.into_owned(),
        };
        quoted(&word)
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_quoted_for_a_shell() {
        let words = ["/usr/bin/conary", "install", "my file.ccs", "it's", ""].map(OsString::from);
        assert_eq!(command_line(words.into_iter()), r"conary install 'my file.ccs' 'it'\''s' ''");
    }

    #[test]
    fn user_names_come_from_the_table() {
        let table = "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n";
        assert_eq!(user_in(table, 1000).as_deref(), Some("anna"));
        assert_eq!(user_in(table, 7), None);
    }

    #[test]
    fn the_default_store_depends_on_who_asks() {
        let mut environment = Environment::read().unwrap();
        environment.uid = 0;
        assert_eq!(environment.default_store(), Some(PathBuf::from("/var/lib/conary")));
        environment.uid = 1000;
        environment.data_home = None;
        environment.home = Some(PathBuf::from("/home/anna"));
        assert_eq!(environment.default_store(), Some(PathBuf::from("/home/anna/.local/share/conary")));
        environment.data_home = Some(PathBuf::from("/data"));
        assert_eq!(environment.default_store(), Some(PathBuf::from("/data/conary")));
        (environment.data_home, environment.home) = (None, None);
        assert_eq!(environment.default_store(), None);
    }
}
