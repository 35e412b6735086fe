// converters/src/srcinfo/moments/commands.rs
//! The commands of `install=` files that can be said as declarations, or that need not be said at all.
//!
//! A command with an option that is not listed here is not understood: an option may change everything.

use recipes::{HookDirectory, HookGroup, HookUser, is_account_field, is_account_name, is_plain_path};

use super::Act;

/// What a command is good for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Act(Act),
    /// It sets a variable: `local name=value`.
    Variable(String, String),
}

type Acts = Result<Vec<Act>, String>;

/// Caches that a trigger makes anew: a program, and the words that may stand behind it.
const COVERED: [(&str, &[&str]); 6] = [
    ("ldconfig", &["-r", "."]),
    ("glib-compile-schemas", &["/usr/share/glib-2.0/schemas", "usr/share/glib-2.0/schemas", "--quiet"]),
    ("update-mime-database", &["/usr/share/mime", "usr/share/mime", "-n"]),
    ("fc-cache", &["-f", "-s", "-fs", "-sf", "-q", "--force", "--system-only"]),
    ("update-desktop-database", &["-q", "--quiet", "/usr/share/applications", "usr/share/applications"]),
    (
        "gtk-update-icon-cache",
        &[
            "-q",
            "-t",
            "-f",
            "-qtf",
            "-tf",
            "-ft",
            "-qf",
            "-fq",
            "-qt",
            "-qft",
            "-fqt",
            "-ftq",
            "--quiet",
            "--force",
            "--ignore-theme-index",
        ],
    ),
];

/// What is for a running system: a root may not be running, and Conary starts, stops and reloads nothing.
const RUNNING: &str = "Conary starts, stops and reloads nothing";

/// What the system does by itself when it starts.
const AT_START: &str = "the system does it when it starts";

/// What one command does, or why that cannot be said.
pub(super) fn acts(fields: &[String], document: Option<&str>) -> Result<Vec<Found>, String> {
    let words: Vec<&str> = fields.iter().map(String::as_str).collect();
    let Some((first, rest)) = words.split_first() else { return Ok(Vec::new()) };
    let name = ["/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/", "usr/bin/", "bin/", "usr/sbin/", "sbin/"]
        .iter()
        .find_map(|place| first.strip_prefix(place))
        .unwrap_or(first);
    if ["local", "declare", "typeset"].contains(&name) {
        let variable = |word: &&str| {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            is_name.then(|| Found::Variable(name.to_owned(), value.to_owned()))
        };
        return rest.iter().map(variable).collect::<Option<_>>().ok_or_else(|| unknown(&words));
    }
    let acts = match name {
        "true" | ":" if document.is_none() => Ok(Vec::new()),
        "echo" => Ok(vec![Act::Says(echoed(rest))]),
        "printf" => printed(rest).map(|text| vec![Act::Says(text)]).ok_or_else(|| unknown(&words)),
        "cat" if rest.is_empty() || rest == ["-"] => match document {
            Some(text) => Ok(vec![Act::Says(text.to_owned())]),
            None => Err(unknown(&words)),
        },
        _ if document.is_some() => Err(unknown(&words)),
        "groupadd" => groupadd(rest),
        "useradd" => useradd(rest),
        "usermod" | "gpasswd" => member(name, rest),
        "passwd" if matches!(rest, ["-l", _]) => Ok(Vec::new()),
        "userdel" | "groupdel" => match rest {
            [account] if is_account_name(account) => Ok(vec![Act::Gone { name: (*account).to_owned() }]),
            _ => Err(unknown(&words)),
        },
        "install" => directory(rest),
        "systemctl" => systemctl(rest),
        "systemd-sysusers" if rest.iter().all(|word| is_file(word)) => Ok(vec![Act::Covered]),
        "systemd-tmpfiles" if is_create(rest) => Ok(vec![Act::Idle { command: words.join(" "), why: AT_START }]),
        "udevadm" | "killall" | "pkill" if rest.first().is_some_and(|word| *word == "control" || *word == "-HUP") => {
            Ok(vec![Act::Idle { command: words.join(" "), why: RUNNING }])
        }
        _ => covered(name, rest).map(|()| vec![Act::Covered]).ok_or_else(|| unknown(&words)),
    };
    acts.map(|acts| acts.into_iter().map(Found::Act).collect())
        .map_err(|what| if what.is_empty() { unknown(&words) } else { what })
}

fn unknown(words: &[&str]) -> String {
    let text = words.join(" ");
    let short: String = text.chars().take(60).collect();
    format!("`{short}` has no declaration in its place")
}

/// Whether a trigger does the same.
fn covered(name: &str, rest: &[&str]) -> Option<()> {
    let (_, known) = COVERED.iter().find(|(program, _)| *program == name)?;
    let is_icons = |word: &&str| {
        name == "gtk-update-icon-cache"
            && word.trim_start_matches('/').strip_prefix("usr/share/icons/").is_some_and(|theme| {
                let theme = theme.trim_end_matches('/');
                !theme.is_empty() && !theme.contains('/')
            })
    };
    rest.iter().all(|word| known.contains(&word.trim_end_matches('/')) || is_icons(word)).then_some(())
}

/// The text of `echo`.
fn echoed(words: &[&str]) -> String {
    let options = words.iter().take_while(|word| matches!(**word, "-e" | "-n" | "-ne" | "-en" | "-E")).count();
    let text = words[options..].join(" ");
    if words[..options].iter().any(|word| word.contains('e')) { unescaped(&text) } else { text }
}

/// The text of `printf` with no more than `%s`.
fn printed(words: &[&str]) -> Option<String> {
    let (format, values) = words.split_first()?;
    let mut text = String::new();
    let mut values = values.iter();
    let mut rest = *format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        match rest.as_bytes().get(at + 1)? {
            b'%' => text.push('%'),
            b's' | b'b' => text.push_str(values.next().copied().unwrap_or_default()),
            _ => return None,
        }
        rest = &rest[at + 2..];
    }
    text.push_str(rest);
    values.next().is_none().then(|| unescaped(&text))
}

/// `\n` and `\t` as what they are, and colours gone.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.replace("\\033", "\u{1b}").replace("\\e", "\u{1b}").into_bytes().into_iter().peekable();
    let mut bytes = Vec::new();
    while let Some(byte) = chars.next() {
        match (byte, chars.peek()) {
            (b'\\', Some(b'n')) => bytes.push(b'\n'),
            (b'\\', Some(b't')) => bytes.push(b'\t'),
            (b'\\', Some(b'\\')) => bytes.push(b'\\'),
            (0x1b, Some(b'[')) => {
                chars.by_ref().find(u8::is_ascii_alphabetic);
                continue;
            }
            _ => {
                bytes.push(byte);
                continue;
            }
        }
        chars.next();
    }
    out.push_str(&String::from_utf8_lossy(&bytes));
    out
}

/// Options of one command: a switch, or one with a value behind it or after `=`.
struct Options<'w> {
    words: std::slice::Iter<'w, &'w str>,
}

impl<'w> Options<'w> {
    fn new(words: &'w [&'w str]) -> Self {
        Self { words: words.iter() }
    }

    /// The next word, with its value where it has the form `--name=value`.
    fn next(&mut self) -> Option<(&'w str, Option<&'w str>)> {
        let word = *self.words.next()?;
        Some(match word.split_once('=').filter(|_| word.starts_with("--")) {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        })
    }

    fn value(&mut self, given: Option<&'w str>) -> Result<&'w str, String> {
        given.or_else(|| self.words.next().copied()).ok_or_default()
    }
}

/// An error without words of its own.
trait OrDefault<T> {
    fn ok_or_default(self) -> Result<T, String>;
}

impl<T> OrDefault<T> for Option<T> {
    fn ok_or_default(self) -> Result<T, String> {
        self.ok_or_else(String::new)
    }
}

fn account(text: &str) -> Result<String, String> {
    is_account_name(text).then(|| text.to_owned()).ok_or_default()
}

/// A number of a system account.
fn number(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|id| (1..1000).contains(id)).ok_or_default()
}

fn groupadd(words: &[&str]) -> Acts {
    let (mut name, mut id, mut system) = (None, None, false);
    let mut options = Options::new(words);
    while let Some((word, given)) = options.next() {
        match word {
            "-r" | "--system" => system = true,
            "-f" | "--force" => {}
            "-g" | "--gid" => id = Some(number(options.value(given)?)?),
            "-rg" | "-fg" => {
                id = Some(number(options.value(given)?)?);
                system |= word == "-rg";
            }
            _ if word.starts_with('-') || name.is_some() => return Err(String::new()),
            _ => name = Some(account(word)?),
        }
    }
    if !system && id.is_none() {
        return Err("a group that is none of the system's has no declaration".to_owned());
    }
    Ok(vec![Act::Group(HookGroup { name: name.ok_or_default()?, id })])
}

fn useradd(words: &[&str]) -> Acts {
    let (mut name, mut system) = (None, false);
    let mut user = HookUser {
        name: String::new(),
        id: None,
        group: None,
        groups: Vec::new(),
        home: None,
        shell: None,
        comment: None,
    };
    let mut options = Options::new(words);
    while let Some((word, given)) = options.next() {
        match word {
            "-r" | "--system" | "-rM" | "-Mr" | "-rU" | "-Ur" => system = true,
            "-M" | "--no-create-home" | "-U" | "--user-group" | "-l" | "--no-log-init" => {}
            "-u" | "--uid" | "-ru" => {
                system |= word == "-ru";
                user.id = Some(number(options.value(given)?)?);
            }
            "-g" | "--gid" | "-rg" => {
                system |= word == "-rg";
                user.group = Some(account(options.value(given)?)?);
            }
            "-G" | "--groups" => {
                user.groups = options.value(given)?.split(',').map(account).collect::<Result<_, _>>()?;
            }
            "-d" | "--home" | "--home-dir" => user.home = Some(path(options.value(given)?)?),
            "-s" | "--shell" => user.shell = Some(path(options.value(given)?)?),
            "-c" | "--comment" => {
                let text = options.value(given)?;
                user.comment = is_account_field(text).then(|| text.to_owned()).filter(|text| !text.is_empty());
            }
            _ if word.starts_with('-') || name.is_some() => return Err(String::new()),
            _ => name = Some(account(word)?),
        }
    }
    if !system && user.id.is_none() {
        return Err("a user that is none of the system's has no declaration".to_owned());
    }
    user.name = name.ok_or_default()?;
    // What useradd takes where nothing is said.
    user.home.get_or_insert_with(|| format!("/home/{}", user.name));
    user.shell.get_or_insert_with(|| "/bin/bash".to_owned());
    Ok(vec![Act::User(user)])
}

/// A path of the root; pacman starts scriptlets there.
fn path(text: &str) -> Result<String, String> {
    let trimmed = if text.len() > 1 { text.trim_end_matches('/') } else { text };
    let whole = if trimmed.starts_with('/') { trimmed.to_owned() } else { format!("/{trimmed}") };
    (whole == "/" || is_plain_path(&whole)).then_some(whole).ok_or_default()
}

fn member(command: &str, words: &[&str]) -> Acts {
    let (groups, user) = match (command, words) {
        ("usermod", ["-aG" | "-a -G", groups, user] | ["-a", "-G", groups, user] | ["-G", groups, "-a", user]) => {
            (groups, user)
        }
        ("usermod", [user, "-aG", groups] | [user, "-a", "-G", groups]) => (groups, user),
        ("gpasswd", ["-a" | "--add", user, group]) => (group, user),
        _ => return Err(String::new()),
    };
    let groups = groups.split(',').map(account).collect::<Result<_, _>>()?;
    Ok(vec![Act::Member { user: account(user)?, groups }])
}

/// `install -d` with a mode and an owner.
fn directory(words: &[&str]) -> Acts {
    let (mut mode, mut owner, mut group, mut is_directory) = (0o755, "root".to_owned(), "root".to_owned(), false);
    let mut paths = Vec::new();
    let mut options = Options::new(words);
    while let Some((word, given)) = options.next() {
        match word {
            "-d" | "--directory" => is_directory = true,
            "-m" | "--mode" | "-dm" => {
                is_directory |= word == "-dm";
                let text = options.value(given)?;
                mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_default()?;
            }
            "-o" | "--owner" => owner = account(options.value(given)?)?,
            "-g" | "--group" => group = account(options.value(given)?)?,
            _ => match word.strip_prefix("-dm").or_else(|| word.strip_prefix("-m")) {
                Some(text) => {
                    is_directory |= word.starts_with("-dm");
                    mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_default()?;
                }
                None if word.starts_with('-') => return Err(String::new()),
                None => paths.push(path(word)?),
            },
        }
    }
    if !is_directory || paths.is_empty() {
        return Err(String::new());
    }
    let act = |path| Act::Directory(HookDirectory { path, mode, owner: owner.clone(), group: group.clone() });
    Ok(paths.into_iter().map(act).collect())
}

/// Whether a word names a file of settings.
fn is_file(word: &str) -> bool {
    word.strip_suffix(".conf").is_some_and(|stem| !stem.is_empty() && !stem.starts_with('-'))
}

/// Whether `systemd-tmpfiles` is told to create what its files say.
fn is_create(words: &[&str]) -> bool {
    words.first() == Some(&"--create") && words[1..].iter().all(|word| is_file(word))
}

fn systemctl(words: &[&str]) -> Acts {
    let words: Vec<&str> =
        words.iter().copied().filter(|word| !matches!(*word, "-q" | "--quiet" | "--system" | "--no-reload")).collect();
    let now = words.contains(&"--now");
    let words: Vec<&str> = words.into_iter().filter(|word| *word != "--now").collect();
    let Some((verb, units)) = words.split_first() else { return Err(String::new()) };
    let idle = || Act::Idle { command: format!("systemctl {}", words.join(" ")), why: RUNNING };
    if units.iter().any(|unit| unit.starts_with('-') || unit.contains('@')) {
        return Err(String::new());
    }
    let unit = |unit: &&str| {
        let kinds = [".service", ".socket", ".timer", ".path", ".target", ".mount", ".automount"];
        if kinds.iter().any(|kind| unit.ends_with(kind)) { (*unit).to_owned() } else { format!("{unit}.service") }
    };
    let mut acts: Vec<Act> = match *verb {
        "enable" if !units.is_empty() => units.iter().map(unit).map(Act::Service).collect(),
        "disable" if !units.is_empty() => units.iter().map(unit).map(Act::Disabled).collect(),
        "daemon-reload" | "daemon-reexec" if units.is_empty() => vec![idle()],
        "start"
        | "stop"
        | "restart"
        | "try-restart"
        | "reload"
        | "reload-or-restart"
        | "try-reload-or-restart"
        | "condrestart"
        | "reset-failed" => vec![idle()],
        _ => return Err(String::new()),
    };
    if now {
        acts.push(idle());
    }
    Ok(acts)
}
