// store/src/manifest.rs
//! The manifest of a trove: one package's metadata, committing to every byte that it installs.
//!
//! The canonical form is JSON without white space, fields in the order of the types below, components in
//! bytewise order; its BLAKE3 digest is the trove's id. Reading is strict: unknown fields, and bytes
//! that are not the canonical form of what they say, are refused, so that one trove has one id.

use std::collections::BTreeMap;

use recipes::{Digest, HookAlternative, HookGroup, HookUser, Name, Scripts, TroveSpec, Version};
use serde::{Deserialize, Serialize};

/// The format that this version reads and writes.
pub const MANIFEST_FORMAT: u32 = 1;

/// Longest scriptlet in bytes: the longest known have some ten thousand.
pub const MAX_SCRIPT_BYTES: usize = 1 << 20;

/// Longest manifest in bytes.
pub const MAX_MANIFEST_BYTES: usize = 16 << 20;

/// One component of a trove: a part that can be installed by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Id of its tree.
    pub tree: Digest,
    /// How many entries it installs, directories left out.
    pub files: u64,
    /// Bytes of its regular files.
    pub size_bytes: u64,
    /// What it gives, each the text of a [`recipes::Capability`].
    pub provides: Vec<String>,
    /// What it needs, each the text of a [`recipes::Requirement`].
    pub requires: Vec<String>,
}

/// A package's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The package.
    pub name: Name,
    /// Its version.
    pub version: Version,
    /// The architecture it runs on, or `any`.
    pub arch: String,
    /// The text of its flavor; empty when it has none.
    pub flavor: String,
    /// The text of the label it was made under.
    pub label: Option<String>,
    /// One line about it.
    pub summary: Option<String>,
    /// More about it.
    pub description: Option<String>,
    /// Its home on the web.
    pub homepage: Option<String>,
    /// Its licence, an SPDX expression.
    pub license: Option<String>,
    /// Its parts by name.
    pub components: BTreeMap<String, Component>,
    /// What it needs, each the text of a [`recipes::Requirement`].
    pub requires: Vec<String>,
    /// What it works better with.
    pub recommends: Vec<String>,
    /// What it gives, each the text of a [`recipes::Capability`].
    pub provides: Vec<String>,
    /// What it cannot stand beside.
    pub conflicts: Vec<String>,
    /// What it takes the place of.
    pub replaces: Vec<String>,
    /// Which files are configuration, beyond those below `/etc`; left out when there are none.
    #[serde(default, skip_serializing_if = "Config::is_empty")]
    pub config: Config,
    /// The groups that it belongs to, sorted. This and the fields below are left out when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What it can make use of, each the text of a [`recipes::Suggestion`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggests: Vec<String>,
    /// Its scriptlets.
    #[serde(default, skip_serializing_if = "Scripts::is_empty")]
    pub scripts: Scripts,
    /// What the system must have for it, beside its files.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
}

/// Files that their users edit. Paths begin with `/` and stand in bytewise order, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Files whose edits are kept.
    pub files: Vec<String>,
    /// Files that only begin as packaged: no later version replaces them.
    pub noreplace: Vec<String>,
}

impl Config {
    /// Whether it names no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.noreplace.is_empty()
    }
}

/// What the system must have for a package, beside its files; each list is left out where it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// Users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<HookUser>,
    /// Groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<HookGroup>,
    /// Links that enable services, with what each leads to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, String>,
    /// Names that several packages can stand behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<HookAlternative>,
}

impl Hooks {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Hooks::default()
    }

    /// Returns the first text that is not what it must be, and what that is.
    fn wrong(&self) -> Option<(&'static str, String)> {
        let account = |name: &&String| !recipes::is_account_name(name);
        let path = |text: &&String| !recipes::is_plain_path(text);
        let field = |text: &&String| !recipes::is_account_field(text) || (!text.starts_with('/') && !text.is_empty());
        let users = || self.users.iter();
        let names = users().flat_map(|user| [&user.name].into_iter().chain(&user.group).chain(&user.groups));
        if let Some(name) = names.chain(self.groups.iter().map(|group| &group.name)).find(account) {
            return Some(("account", name.clone()));
        }
        if let Some(text) = users().flat_map(|user| user.home.iter().chain(&user.shell)).find(field) {
            return Some(("home or shell", text.clone()));
        }
        if let Some(text) = users().flat_map(|user| &user.comment).find(|text| !recipes::is_account_field(text)) {
            return Some(("comment of a user", text.clone()));
        }
        let ids = users().map(|user| user.id).chain(self.groups.iter().map(|group| group.id)).flatten();
        if let Some(id) = ids.into_iter().find(|id| !recipes::ACCOUNT_IDS.contains(&u64::from(*id))) {
            return Some(("number of an account", id.to_string()));
        }
        let alternatives = self.alternatives.iter().flat_map(|alternative| {
            [&alternative.link, &alternative.target]
                .into_iter()
                .chain(alternative.also.iter().flat_map(|(link, target)| [link, target]))
        });
        let services = self.services.iter().flat_map(|(link, target)| [link, target]);
        services.chain(alternatives).find(path).map(|text| ("link", text.clone()))
    }
}

impl Manifest {
    /// Returns the canonical bytes.
    ///
    /// # Panics
    /// Never: a manifest holds only strings, numbers and lists of them.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("because a manifest has only string keys and plain values")
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// [`ManifestError`] for anything that [`Manifest::to_json`] would not have written.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong { bytes: bytes.len() });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if manifest.format != MANIFEST_FORMAT {
            return Err(ManifestError::Format { found: manifest.format });
        }
        manifest.check()?;
        if manifest.to_json() != bytes {
            return Err(ManifestError::NotCanonical);
        }
        Ok(manifest)
    }

    /// Returns the trove's id.
    #[must_use]
    pub fn id(&self) -> Digest {
        Digest::blake3(*blake3::hash(&self.to_json()).as_bytes())
    }

    /// Returns the trove's name as people write it.
    #[must_use]
    pub fn spec(&self) -> TroveSpec {
        TroveSpec {
            name: self.name.clone(),
            component: None,
            version: Some(self.version.clone()),
            // Checked when the manifest was read or put; a wrong text is left out, not a crash.
            flavor: self.flavor.parse().unwrap_or_default(),
            label: self.label.as_deref().and_then(|label| label.parse().ok()),
        }
    }

    /// Returns the usual name of the package file, `name-version-release.arch.ccs`.
    ///
    /// An epoch stands before the version as `EPOCH.`, because `:` does not go well with file names.
    #[must_use]
    pub fn file_name(&self) -> String {
        let Version { epoch, version, release } = &self.version;
        let epoch = if *epoch == 0 { String::new() } else { format!("{epoch}.") };
        format!("{}-{epoch}{version}-{release}.{}.ccs", self.name, self.arch)
    }

    /// Checks the texts that other code takes apart or makes file names of.
    ///
    /// # Errors
    /// [`ManifestError::Text`] naming the first that is wrong.
    pub fn check(&self) -> Result<(), ManifestError> {
        let plain = |text: &str| {
            !text.is_empty()
                && text.len() <= 64
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
                && !text.starts_with(['.', '-'])
        };
        let wrong = |what: &'static str, text: &str| Err(ManifestError::Text { what, text: text.to_owned() });
        if !plain(&self.arch) {
            return wrong("architecture", &self.arch);
        }
        let flavor = self.flavor.parse::<recipes::Flavor>();
        if !flavor.is_ok_and(|flavor| flavor.to_string() == self.flavor) {
            return wrong("flavor", &self.flavor);
        }
        if let Some(label) = &self.label
            && label.parse::<recipes::Label>().is_err()
        {
            return wrong("label", label);
        }
        for name in self.components.keys() {
            if !plain(name) {
                return wrong("component", name);
            }
        }
        let parts = self.components.values();
        let given = parts.clone().flat_map(|part| &part.provides).chain(&self.provides);
        for text in given.chain(&self.conflicts).chain(&self.replaces) {
            if text.parse::<recipes::Capability>().is_err() {
                return wrong("capability", text);
            }
        }
        for text in &self.suggests {
            let parsed: Result<recipes::Suggestion, _> = text.parse();
            if !parsed.is_ok_and(|suggestion| suggestion.to_string() == *text) {
                return wrong("suggestion", text);
            }
        }
        let before = [None].into_iter().chain(self.groups.iter().map(Some));
        for (before, group) in before.zip(&self.groups) {
            if !recipes::is_group(group) || before.is_some_and(|before| before >= group) {
                return wrong("group", group);
            }
        }
        for (scriptlet, text) in &self.scripts {
            if text.len() > MAX_SCRIPT_BYTES || text.contains('\0') {
                return wrong("scriptlet", scriptlet.name());
            }
        }
        if let Some((what, text)) = self.hooks.wrong() {
            return wrong(what, &text);
        }
        let needed = parts.clone().flat_map(|part| &part.requires).chain(&self.requires);
        for text in needed.chain(&self.recommends) {
            if text.parse::<recipes::Requirement>().is_err() {
                return wrong("requirement", text);
            }
        }
        for list in [&self.config.files, &self.config.noreplace] {
            let plain = |path: &String| path.starts_with('/') && path.len() > 1;
            if let Some(path) = list.iter().find(|path| !plain(path)) {
                return wrong("configuration file", path);
            }
            if let Some((_, path)) = list.iter().zip(list.iter().skip(1)).find(|(one, next)| one >= next) {
                return wrong("configuration file", path);
            }
        }
        Ok(())
    }
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// They are not JSON of the right shape.
    #[error("manifest does not read: {0}")]
    Json(serde_json::Error),
    /// They are a format of another version of Conary.
    #[error("manifest has format {found}; this version of Conary knows {MANIFEST_FORMAT}")]
    Format {
        /// The format found.
        found: u32,
    },
    /// A text in it is not what it must be.
    #[error("manifest names the {what} `{}`, which is not valid", text.escape_debug())]
    Text {
        /// What the text should be.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// The same manifest could be written differently.
    #[error("manifest is not in its canonical form")]
    NotCanonical,
    /// More than [`MAX_MANIFEST_BYTES`].
    #[error("manifest has {bytes} bytes, more than {MAX_MANIFEST_BYTES}")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A manifest without components, for the tests of this crate.
    pub(crate) fn sample(name: &str, version: &str) -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT,
            name: name.parse().unwrap(),
            version: version.parse().unwrap(),
            arch: "x86_64".to_owned(),
            flavor: String::new(),
            label: None,
            summary: Some("an example".to_owned()),
            description: None,
            homepage: None,
            license: Some("MIT".to_owned()),
            components: BTreeMap::new(),
            requires: vec![],
            recommends: vec![],
            provides: vec![format!("{name}={version}")],
            conflicts: vec![],
            replaces: vec![],
            config: Config::default(),
            groups: vec![],
            suggests: vec![],
            scripts: Scripts::new(),
            hooks: Hooks::default(),
        }
    }

    #[test]
    fn canonical_bytes_round_trip() {
        let mut manifest = sample("hello", "1.0-1");
        manifest.components.insert(
            "runtime".to_owned(),
            Component { tree: Digest::blake3([7; 32]), files: 1, size_bytes: 2, provides: vec![], requires: vec![] },
        );
        let bytes = manifest.to_json();
        assert_eq!(Manifest::from_json(&bytes).unwrap(), manifest);
        assert!(bytes.starts_with(b"{\"format\":1,\"name\":\"hello\",\"version\":\"1.0-1\","));
        assert_eq!(manifest.spec().to_string(), "hello=1.0-1");
        assert_eq!(manifest.file_name(), "hello-1.0-1.x86_64.ccs");
        manifest.version.epoch = 2;
        assert_eq!(manifest.file_name(), "hello-2.1.0-1.x86_64.ccs");
    }

    #[test]
    fn configuration_is_named_only_where_there_is_some() {
        let mut manifest = sample("hello", "1.0-1");
        assert!(!String::from_utf8(manifest.to_json()).unwrap().contains("config"));
        manifest.config.files = vec!["/a".to_owned(), "/b".to_owned()];
        assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
        for wrong in [["/b", "/a"], ["/a", "/a"], ["a", "b"], ["/", "/a"]] {
            manifest.config.files = wrong.map(str::to_owned).to_vec();
            assert!(manifest.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn later_fields_stand_only_where_they_hold_something() {
        let mut manifest = sample("hello", "1.0-1");
        assert!(manifest.to_json().ends_with(b"\"replaces\":[]}"));
        manifest.groups = vec!["base".to_owned()];
        manifest.suggests = vec!["cups: printing".to_owned()];
        manifest.scripts.insert(recipes::Scriptlet::PostInstall, "ldconfig\n".to_owned());
        let bytes = manifest.to_json();
        let end = b"\"replaces\":[],\"groups\":[\"base\"],\"suggests\":[\"cups: printing\"],\"scripts\":{\"post-install\":\"ldconfig\\n\"}}";
        assert!(bytes.ends_with(end), "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(Manifest::from_json(&bytes).unwrap(), manifest);
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [
            ("\"groups\":[\"base\"]", "\"groups\":[]"),
            ("\"base\"", "\"a b\""),
            ("\"base\"", "\"base\",\"all\""),
            ("\"base\"", "\"base\",\"base\""),
            ("cups: printing", "cups : printing"),
            ("post-install", "post-instal"),
            ("ldconfig", "a\\u0000"),
            (",\"suggests\":[\"cups: printing\"]", ",\"suggests\":null"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(Manifest::from_json(changed.as_bytes()).is_err(), "{changed}");
        }
        manifest.scripts.insert(recipes::Scriptlet::PreRemove, "x".repeat(MAX_SCRIPT_BYTES + 1));
        assert!(manifest.check().is_err());
    }

    #[test]
    fn hooks_stand_only_where_there_are_some() {
        let mut manifest = sample("hello", "1.0-1");
        assert!(!String::from_utf8(manifest.to_json()).unwrap().contains("hooks"));
        let user = HookUser {
            name: "tool".to_owned(),
            id: None,
            group: None,
            groups: vec![],
            home: Some("/var/lib/tool".to_owned()),
            shell: None,
            comment: None,
        };
        manifest.hooks.users = vec![user];
        manifest.hooks.services = BTreeMap::from([("/etc/a".to_owned(), "/usr/b".to_owned())]);
        let text = String::from_utf8(manifest.to_json()).unwrap();
        let end = "\"hooks\":{\"users\":[{\"name\":\"tool\",\"home\":\"/var/lib/tool\"}],\"services\":{\"/etc/a\":\"/usr/b\"}}}";
        assert!(text.ends_with(end), "{text}");
        assert_eq!(Manifest::from_json(text.as_bytes()).unwrap(), manifest);
        for (from, to) in [
            ("\"tool\"", "\"to:ol\""),
            ("/var/lib/tool", "/var:x"),
            ("/var/lib/tool", "/var\\nx"),
            ("/usr/b", "/usr/../b"),
            ("/etc/a", "etc/a"),
            ("\"home\"", "\"id\":0,\"home\""),
            ("\"services\":", "\"groups\":[],\"services\":"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(Manifest::from_json(changed.as_bytes()).is_err(), "{changed}");
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let text = String::from_utf8(sample("hello", "1.0-1").to_json()).unwrap();
        for (from, to) in [
            ("{\"format\"", "{ \"format\""),
            ("\"format\":1", "\"format\":2"),
            ("\"format\":1", "\"format\":1,\"extra\":0"),
            ("\"format\":1,\"name\":\"hello\"", "\"name\":\"hello\",\"format\":1"),
            ("\"name\":\"hello\"", "\"name\":\"../hello\""),
            ("\"arch\":\"x86_64\"", "\"arch\":\"../x\""),
            ("\"arch\":\"x86_64\"", "\"arch\":\"\""),
            ("\"requires\":[]", "\"requires\":[\"\"]"),
            ("\"provides\":[", "\"provides\":[\"|\","),
            ("\"components\":{}", "\"components\":{\"a/b\":{}}"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(Manifest::from_json(changed.as_bytes()).is_err(), "{changed}");
        }
        assert!(Manifest::from_json(&text.as_bytes()[..40]).is_err());
    }
}
