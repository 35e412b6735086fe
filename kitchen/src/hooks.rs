// kitchen/src/hooks.rs
//! What a recipe declares under `[hooks]`, on its way into the package.
//!
//! | declared | becomes |
//! |---|---|
//! | `directories` | entries of the package, with mode and owner |
//! | `tmpfiles`, `sysctl` | `/usr/lib/tmpfiles.d/NAME.conf`, `/usr/lib/sysctl.d/NAME.conf` |
//! | `services` | the links that the units' `[Install]` sections ask for, in the manifest |
//! | `users`, `groups`, `alternatives` | themselves, in the manifest |
//!
//! Users and groups come from files of the package in `usr/lib/sysusers.d` as well.
//!
//! Whatever an installer has to make a link or a line in gets its directory from the package, so that the directory comes and goes as those
//! of files do.

use std::collections::{BTreeMap, BTreeSet};

use recipes::{HookDirectory, Hooks, Product};
use store::{Batch, Entry, Node, StoreError, Tree, TreeError};

use crate::sysusers;

/// Where packaged units lie.
const UNITS: &str = "usr/lib/systemd/system";
/// Where links enable them.
const ENABLED: &str = "etc/systemd/system";
/// The longest unit that is read.
const UNIT_BYTES: u64 = 1 << 20;

/// A declaration cannot be plated.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// A directory that is something else in the output.
    #[error("hooks: {path} is no directory in the output")]
    NoDirectory {
        /// Where.
        path: String,
    },
    /// A file that the output has already.
    #[error("hooks: the output has a {path} of its own")]
    Taken {
        /// Where.
        path: String,
    },
    /// A unit that the package does not have.
    #[error("hooks.services: the package has no unit {unit} in /{UNITS}")]
    NoUnit {
        /// Which.
        unit: String,
    },
    /// A unit that says nowhere what would start it.
    #[error("hooks.services: {unit} cannot be enabled: its [Install] section asks for nothing")]
    NoInstall {
        /// Which.
        unit: String,
    },
    /// A name in a unit that is none.
    #[error("hooks.services: {unit} asks for {name:?}, which names no unit")]
    Name {
        /// Which unit.
        unit: String,
        /// What it asks for.
        name: String,
    },
    /// The tree that came of it is not valid.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HookError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoDirectory { .. } => {
                "leave it out of `hooks.directories`, or let the steps make a directory there".to_owned()
            }
            Self::Taken { .. } => "write the lines into that file, or leave them to `hooks`".to_owned(),
            Self::NoUnit { .. } => format!("install it below \"$DESTDIR/{UNITS}\", or leave it out"),
            Self::NoInstall { .. } => {
                "add `[Install]` and `WantedBy=multi-user.target` to it, or leave it out".to_owned()
            }
            Self::Name { .. } => "write whole names of units there; specifiers like %i are not understood".to_owned(),
            Self::Tree(_) => return None,
            Self::Store(error) => return error.hint(),
        })
    }
}

/// Returns the tree with what the declarations put into it, and what the manifest says of the rest.
///
/// # Errors
/// Every [`HookError`].
pub fn plate(product: &Product<'_>, tree: &Tree, batch: &Batch<'_>) -> Result<(Tree, store::Hooks), HookError> {
    let mut hooks = product.hooks.clone();
    sysusers::add(&mut hooks, tree, batch)?;
    let hooks = &hooks;
    if hooks.is_empty() {
        return Ok((tree.clone(), store::Hooks::default()));
    }
    let mut output =
        Output { entries: tree.entries().iter().map(|entry| (entry.path.clone(), entry.clone())).collect() };
    let name = product.package.name.as_str();
    if !hooks.tmpfiles.is_empty() {
        output.file(&format!("usr/lib/tmpfiles.d/{name}.conf"), &lines(&hooks.tmpfiles), batch)?;
    }
    if !hooks.sysctl.is_empty() {
        let settings: Vec<String> = hooks.sysctl.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        output.file(&format!("usr/lib/sysctl.d/{name}.conf"), &lines(&settings), batch)?;
    }
    for directory in &hooks.directories {
        output.directory(directory)?;
    }
    let services = services(hooks, tree, batch)?;
    let links = hooks
        .alternatives
        .iter()
        .flat_map(|alternative| [&alternative.link].into_iter().chain(alternative.also.keys()));
    for link in links.chain(services.keys()) {
        output.parents(link.trim_start_matches('/'))?;
    }
    if !(hooks.users.is_empty() && hooks.groups.is_empty()) {
        output.parents("etc/passwd")?;
    }
    let declared = store::Hooks {
        users: hooks.users.clone(),
        groups: hooks.groups.clone(),
        services,
        alternatives: hooks.alternatives.clone(),
    };
    Ok((Tree::new(output.entries.into_values().collect())?, declared))
}

fn lines(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

/// The output, while things are added.
struct Output {
    entries: BTreeMap<Vec<u8>, Entry>,
}

impl Output {
    fn parents(&mut self, path: &str) -> Result<(), HookError> {
        for (slash, _) in path.match_indices('/') {
            let parent = &path[..slash];
            let entry = self.entries.entry(parent.into()).or_insert_with(|| plain(parent, 0o755, Node::Directory));
            if entry.node != Node::Directory {
                return Err(HookError::NoDirectory { path: format!("/{parent}") });
            }
        }
        Ok(())
    }

    fn directory(&mut self, wanted: &HookDirectory) -> Result<(), HookError> {
        let path = wanted.path.trim_start_matches('/');
        self.parents(&format!("{path}/"))?;
        if let Some(entry) = self.entries.get_mut(path.as_bytes()) {
            entry.mode = wanted.mode;
            entry.owner.clone_from(&wanted.owner);
            entry.group.clone_from(&wanted.group);
        }
        Ok(())
    }

    fn file(&mut self, path: &str, content: &[u8], batch: &Batch<'_>) -> Result<(), HookError> {
        if self.entries.contains_key(path.as_bytes()) {
            return Err(HookError::Taken { path: format!("/{path}") });
        }
        self.parents(path)?;
        let object = batch.add_bytes(content, 0o644)?;
        let node = Node::File { object, size: content.len() as u64 };
        self.entries.insert(path.into(), plain(path, 0o644, node));
        Ok(())
    }
}

fn plain(path: &str, mode: u32, node: Node) -> Entry {
    let root = || "root".to_owned();
    Entry { path: path.into(), mode, owner: root(), group: root(), xattrs: BTreeMap::new(), node }
}

/// Returns the links that enabling the units makes, as `systemctl enable` would, with their targets.
fn services(hooks: &Hooks, tree: &Tree, batch: &Batch<'_>) -> Result<BTreeMap<String, String>, HookError> {
    let mut links = BTreeMap::new();
    let mut waiting: Vec<String> = hooks.services.clone();
    let mut seen = BTreeSet::new();
    while let Some(unit) = waiting.pop() {
        if !seen.insert(unit.clone()) {
            continue;
        }
        let file = template(&unit).unwrap_or_else(|| unit.clone());
        let target = format!("/{UNITS}/{file}");
        let entry = tree.get(&target.as_bytes()[1..]);
        let text = match entry.map(|entry| &entry.node) {
            Some(Node::File { object, size }) if *size <= UNIT_BYTES => batch.read(object)?,
            Some(Node::Symlink { .. }) => Vec::new(),
            _ => return Err(HookError::NoUnit { unit }),
        };
        let install = install_section(&String::from_utf8_lossy(&text));
        let values = |key: &str| install.get(key).into_iter().flatten();
        // A template is enabled as the instance that it names itself.
        let instance = match (file.strip_prefix(&unit), unit.split_once('@'), values("DefaultInstance").next()) {
            (Some(""), Some((stem, suffix)), Some(default)) if suffix.starts_with('.') => {
                format!("{stem}@{default}{suffix}")
            }
            _ => unit.clone(),
        };
        let mut asked = false;
        for (key, directory) in [("WantedBy", ".wants/"), ("RequiredBy", ".requires/"), ("UpheldBy", ".upholds/")] {
            for wanting in values(key) {
                links.insert(format!("/{ENABLED}/{}{directory}{instance}", named(&unit, wanting)?), target.clone());
                asked = true;
            }
        }
        for alias in values("Alias") {
            links.insert(format!("/{ENABLED}/{}", named(&unit, alias)?), target.clone());
            asked = true;
        }
        for also in values("Also") {
            waiting.push(named(&unit, also)?.to_owned());
            asked = true;
        }
        if !asked {
            return Err(HookError::NoInstall { unit });
        }
    }
    Ok(links)
}

/// Returns the template of an instance: `getty@.service` of `getty@tty1.service`.
fn template(unit: &str) -> Option<String> {
    let (stem, rest) = unit.split_once('@')?;
    let (_, suffix) = rest.rsplit_once('.')?;
    Some(format!("{stem}@.{suffix}"))
}

/// Checks the name of a unit in another one.
fn named<'n>(unit: &str, name: &'n str) -> Result<&'n str, HookError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    if name.contains('.') && !name.starts_with('.') && name.len() <= 255 && name.bytes().all(plain) {
        return Ok(name);
    }
    Err(HookError::Name { unit: unit.to_owned(), name: name.to_owned() })
}

/// Reads the `[Install]` section of a unit: words by key; an empty value forgets those before it.
fn install_section(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut inside = false;
    let joined = text.replace("\\\n", " ");
    for line in joined.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[Install]";
        } else if inside
            && !line.starts_with(['#', ';'])
            && let Some((key, value)) = line.split_once('=')
        {
            let values = found.entry(key.trim().to_owned()).or_default();
            if value.trim().is_empty() {
                values.clear();
            }
            values.extend(value.split_ascii_whitespace().map(str::to_owned));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::{OpenOptions, Store};

    fn plated(hooks: Hooks, files: &[(&str, &str)]) -> Result<(Tree, store::Hooks), HookError> {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), &OpenOptions::default()).unwrap();
        let batch = store.batch().unwrap();
        let mut output = Output { entries: BTreeMap::new() };
        for (path, content) in files {
            output.file(path, content.as_bytes(), &batch).unwrap();
        }
        let tree = Tree::new(output.entries.into_values().collect()).unwrap();
        let mut recipe = recipes::parse("[package]\nname = \"x\"\nversion = \"1\"\n", "recipe.toml").unwrap();
        recipe.hooks = hooks;
        plate(&recipe.products()[0], &tree, &batch)
    }

    fn unit(text: &str) -> Vec<(&'static str, String)> {
        vec![
            ("usr/lib/systemd/system/x.service", text.to_owned()),
            ("usr/lib/systemd/system/x@.service", text.to_owned()),
        ]
    }

    fn enabled(service: &str, text: &str) -> Result<Vec<(String, String)>, HookError> {
        let files = unit(text);
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let (_, hooks) = plated(Hooks { services: vec![service.to_owned()], ..Hooks::default() }, &files)?;
        Ok(hooks.services.into_iter().collect())
    }

    #[test]
    fn units_are_enabled_as_they_ask() {
        let at = "/etc/systemd/system";
        let of = "/usr/lib/systemd/system";
        for (service, text, expected) in [
            (
                "x.service",
                "[Install]\nWantedBy=a.target b.target\n",
                vec![("a.target.wants/x.service", "x"), ("b.target.wants/x.service", "x")],
            ),
            (
                "x.service",
                "[Install]\nWantedBy=a.target\nWantedBy=\nRequiredBy=c.target\nAlias=y.service\n",
                vec![("c.target.requires/x.service", "x"), ("y.service", "x")],
            ),
            (
                "x@tty1.service",
                "[Unit]\nWantedBy=no.target\n[Install]\n# c\nWantedBy = a.target\n",
                vec![("a.target.wants/x@tty1.service", "x@")],
            ),
            (
                "x@.service",
                "[Install]\nWantedBy=a.target\nDefaultInstance=one\n",
                vec![("a.target.wants/x@one.service", "x@")],
            ),
        ] {
            let links: Vec<_> =
                expected.iter().map(|(link, unit)| (format!("{at}/{link}"), format!("{of}/{unit}.service"))).collect();
            assert_eq!(enabled(service, text).unwrap(), links, "{text}");
        }
        assert!(matches!(enabled("x.service", "[Unit]\n"), Err(HookError::NoInstall { .. })));
        assert!(matches!(enabled("y.service", "[Install]\n"), Err(HookError::NoUnit { .. })));
        assert!(matches!(enabled("x.service", "[Install]\nWantedBy=../../x.target\n"), Err(HookError::Name { .. })));
        assert!(matches!(enabled("x.service", "[Install]\nWantedBy=%i.target\n"), Err(HookError::Name { .. })));
    }

    #[test]
    fn declarations_become_entries() {
        let directory =
            HookDirectory { path: "/var/lib/x".to_owned(), mode: 0o750, owner: "x".to_owned(), group: "y".to_owned() };
        let hooks = Hooks {
            directories: vec![directory],
            tmpfiles: vec!["d /run/x".to_owned(), "d /run/y".to_owned()],
            sysctl: BTreeMap::from([("net.a".to_owned(), "1".to_owned())]),
            ..Hooks::default()
        };
        let (tree, declared) = plated(hooks.clone(), &[]).unwrap();
        assert!(declared.is_empty());
        let entry = tree.get(b"var/lib/x").unwrap();
        assert_eq!((entry.mode, entry.owner.as_str(), entry.group.as_str()), (0o750, "x", "y"));
        assert!(tree.get(b"usr/lib/tmpfiles.d/x.conf").is_some() && tree.get(b"usr/lib/sysctl.d/x.conf").is_some());
        assert!(matches!(plated(hooks.clone(), &[("usr/lib/sysctl.d/x.conf", "")]), Err(HookError::Taken { .. })));
        assert!(matches!(plated(hooks, &[("var/lib/x", "")]), Err(HookError::NoDirectory { .. })));
        let group = recipes::HookGroup { name: "g".to_owned(), id: None };
        let (tree, _) = plated(Hooks { groups: vec![group], ..Hooks::default() }, &[]).unwrap();
        assert_eq!(tree.entries().len(), 1, "the directory of /etc/group");
    }
}
