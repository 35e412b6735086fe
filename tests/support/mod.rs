// tests/support/mod.rs
//! A private world for one test: directories, environment, identity, and the built `conary`.

pub mod recipe;
pub mod server;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// An ordinary user id that no host gives to anybody.
const ORDINARY: u32 = 12_345;

/// The longest that any command of a test may take.
const PATIENCE: Duration = Duration::from_mins(4);

/// The longest that a command may take to stop when it is asked to: a second, and what a loaded machine puts on top.
pub const AT_ONCE: Duration = Duration::from_secs(4);

/// Directories, environment and identity of one test.
pub struct TestEnv {
    directory: tempfile::TempDir,
    ordinary: bool,
}

/// What a command did.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
    /// Its exit code, or 128 and the signal.
    pub code: i32,
    command: String,
    directory: String,
}

/// True when the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says loudly that a test did not run; fails where skips are forbidden.
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os("CONARY_FORBID_SKIPS").is_none(),
        "skips are forbidden here, and this one wants to: {reason}"
    );
    // Past the capture of the test harness, which hides what a passing test prints.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// Says that something is covered elsewhere; no skip.
pub fn note(what: &str) {
    let _ = writeln!(std::io::stderr(), "note: {what}");
}

/// Runs `test` as the user who runs the tests, and, where that is root, as an ordinary user too.
pub fn each_identity(test: impl Fn(&TestEnv)) {
    test(&TestEnv::new());
    if is_root() {
        test(&TestEnv::ordinary());
    }
}

/// The program under test, where every user can read it.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = Path::new(env!("CARGO_BIN_EXE_conary"));
        if !is_root() {
            return built.to_owned();
        }
        let place = std::env::temp_dir().join(format!("conary-under-test-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        let program = place.join("conary");
        fs::copy(built, &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    })
}

/// The checkout that the tests belong to.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl TestEnv {
    /// A world of the user who runs the tests.
    pub fn new() -> Self {
        Self::make(false)
    }

    /// A world of an ordinary user. Needs root; when the tests do not run as root, they are ordinary already.
    pub fn ordinary() -> Self {
        Self::make(is_root())
    }

    fn make(ordinary: bool) -> Self {
        let directory = tempfile::Builder::new().prefix("conary-test-").tempdir().unwrap();
        let env = Self { directory, ordinary };
        fs::set_permissions(env.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["home", "tmp", "work"] {
            fs::create_dir(env.directory.path().join(name)).unwrap();
        }
        env.give();
        env
    }

    /// Hands everything below the world to its user, after the test has written there.
    pub fn give(&self) {
        fn own(path: &Path) {
            let _ = chown_no_follow(path);
            if path.is_dir() && !path.is_symlink() {
                for entry in fs::read_dir(path).unwrap().flatten() {
                    own(&entry.path());
                }
            }
        }
        if self.ordinary {
            own(self.directory.path());
        }
    }

    /// Whether it belongs to an ordinary user while the tests run as root.
    pub fn is_ordinary(&self) -> bool {
        self.ordinary
    }

    /// Where commands start.
    pub fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// A path below [`TestEnv::work`].
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.work().join(name)
    }

    /// The store that [`TestEnv::cook`] uses.
    pub fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// The root that [`TestEnv::root_command`] changes.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Writes a file below [`TestEnv::work`], with its directories.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        self.give();
        path
    }

    /// Copies a directory of the checkout below [`TestEnv::work`].
    pub fn copy_in(&self, from: &str, to: &str) -> PathBuf {
        let target = self.path(to);
        copy_tree(&checkout().join(from), &target);
        self.give();
        target
    }

    /// A command in this world: cleared environment, private directories, the world's user.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.directory.path().join("home"))
            .env("TMPDIR", self.directory.path().join("tmp"))
            .env("LANG", "C.UTF-8")
            .current_dir(self.work())
            .stdin(Stdio::null());
        if self.ordinary {
            command.uid(ORDINARY).gid(ORDINARY);
        }
        command
    }

    /// A `conary` command in this world, not yet run.
    pub fn conary_command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(program());
        command.args(arguments);
        command
    }

    /// A shell that finds `conary`, not yet run.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = self.command("sh");
        let places = std::env::join_paths(
            std::iter::once(program().parent().unwrap().to_owned())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        command.arg("-euc").arg(script).env("PATH", places.unwrap());
        command
    }

    /// Runs `conary` with these arguments.
    pub fn conary<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        self.run(self.conary_command(arguments))
    }

    /// Runs a command of the store: `cook`, `why`, `log` and the like, with this world's store.
    pub fn cook<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        let mut command = self.conary_command(arguments);
        command.arg("--store").arg(self.store());
        self.run(command)
    }

    /// Runs a command of the root: `install`, `list` and the like, with this world's root.
    pub fn root_command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        let mut command = self.conary_command(arguments);
        command.arg("--root").arg(self.root());
        self.run(command)
    }

    /// Runs a command to its end and keeps what it said.
    pub fn run(&self, mut command: Command) -> Run {
        let shown = format!("{command:?}");
        let mut out = tempfile::tempfile().unwrap();
        let mut err = tempfile::tempfile().unwrap();
        let mut child = command
            .stdout(out.try_clone().unwrap())
            .stderr(err.try_clone().unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{shown} did not end in {PATIENCE:?}\n{}", read_back(&mut err));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let code =
            status.code().unwrap_or_else(|| 128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0));
        let directory = self.directory.path().to_string_lossy().into_owned();
        Run { stdout: read_back(&mut out), stderr: read_back(&mut err), code, command: shown, directory }
    }

    /// Every path below a directory with its kind and mode, sorted: what a test compares.
    pub fn listing(&self, directory: &Path) -> Vec<String> {
        assert!(directory.starts_with(self.directory.path()), "{} is not of this world", directory.display());
        let mut lines = Vec::new();
        list(directory, directory, &mut lines);
        lines.sort();
        lines
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        // A test may have left directories that nobody can write.
        make_writable(self.directory.path());
    }
}

impl Run {
    /// Asserts that the command ended with 0.
    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n--- stdout\n{}--- stderr\n{}", self.command, self.stdout, self.stderr);
        self
    }

    /// Asserts that stderr holds each of these texts.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "stderr of {} lacks {text:?}:\n{}", self.command, self.stderr);
        }
        self
    }

    /// Asserts that stdout holds each of these texts.
    #[track_caller]
    pub fn prints(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stdout.contains(text), "stdout of {} lacks {text:?}:\n{}", self.command, self.stdout);
        }
        self
    }

    /// Asserts that stderr does not hold this text.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        assert!(!self.stderr.contains(text), "stderr of {} holds {text:?}:\n{}", self.command, self.stderr);
        self
    }

    /// Stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{}: {error}\n{}", self.command, self.stdout))
    }

    /// Exit code, stdout and stderr, with times, digests and this world's directory replaced.
    pub fn snapshot(&self) -> String {
        let normal = |text: &str| normalise(&text.replace(&self.directory, "[DIR]"));
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.code, normal(&self.stdout), normal(&self.stderr))
    }
}

/// Replaces durations (`1.2s`, `3m04s`), dates, sizes in KiB and more, and long hexadecimal numbers.
pub fn normalise(text: &str) -> String {
    let mut normal = String::new();
    let mut word = String::new();
    let flush = |word: &mut String, normal: &mut String| {
        normal.push_str(&normal_word(word));
        word.clear();
    };
    for character in text.chars() {
        if character.is_alphanumeric() || character == '.' {
            word.push(character);
        } else {
            flush(&mut word, &mut normal);
            normal.push(character);
        }
    }
    flush(&mut word, &mut normal);
    for unit in ["KiB", "MiB", "GiB"] {
        let mut rest = normal.as_str();
        let mut replaced = String::new();
        while let Some(at) = rest.find(&format!(" {unit}")) {
            let number = rest[..at].trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
            replaced.push_str(number);
            replaced.push_str("[SIZE]");
            rest = &rest[at + unit.len() + 1..];
        }
        replaced.push_str(rest);
        normal = replaced;
    }
    normal
}

fn normal_word(word: &str) -> String {
    let bare = word.trim_end_matches('.');
    let dots = &word[bare.len()..];
    let hexadecimal = bare.len() >= 12
        && bare.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase())
        && bare.chars().any(|c| c.is_ascii_digit());
    let seconds = bare.strip_suffix('s').is_some_and(|number| {
        let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        number.split_once(['.', 'm']).is_some_and(|(whole, part)| digits(whole) && digits(part))
    });
    if hexadecimal {
        format!("[HEX]{dots}")
    } else if seconds {
        format!("[TIME]{dots}")
    } else {
        word.to_owned()
    }
}

fn chown_no_follow(path: &Path) -> std::io::Result<()> {
    if path.is_symlink() {
        return std::os::unix::fs::lchown(path, Some(ORDINARY), Some(ORDINARY));
    }
    chown(path, Some(ORDINARY), Some(ORDINARY))
}

fn read_back(file: &mut fs::File) -> String {
    use std::io::{Read as _, Seek as _};
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Copies a directory with modes and symlinks.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_tree(&entry.path(), &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), &target).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn list(top: &Path, directory: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let meta = path.symlink_metadata().unwrap();
        let name = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
        let mode = meta.permissions().mode() & 0o7777;
        if meta.is_dir() {
            lines.push(format!("{name}/ {mode:o}"));
            list(top, &path, lines);
        } else if meta.is_symlink() {
            lines.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
        } else {
            lines.push(format!("{name} {mode:o} {}", meta.len()));
        }
    }
}

fn make_writable(path: &Path) {
    let Ok(meta) = path.symlink_metadata() else { return };
    if meta.is_dir() {
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o755));
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            make_writable(&entry.path());
        }
    }
}

#[test]
fn snapshots_do_not_depend_on_time_or_content() {
    let text = "Built in 1.2s (3m04s), blake3:0a1b2c3d4e5f, 17.3 KiB, hello-1.0-1, files.";
    assert_eq!(normalise(text), "Built in [TIME] ([TIME]), blake3:[HEX], [SIZE], hello-1.0-1, files.");
}
