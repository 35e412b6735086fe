// tests/support/recipe.rs
//! Small recipes and archives for tests: no compiler, no network, done in a moment.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use super::TestEnv;

/// A recipe without a source whose install step is `install`.
pub fn plain(name: &str, install: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"1.0\"\n\n[build]\ninstall = '''\n{install}\n'''\n")
}

/// A recipe that installs one file with this content.
pub fn one_file(name: &str, path: &str, content: &str) -> String {
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    plain(name, &format!("mkdir -p \"$DESTDIR{directory}\"\nprintf '%s\\n' '{content}' > \"$DESTDIR{path}\""))
}

/// A recipe with this archive and its SHA-256.
pub fn with_archive(name: &str, url: &str, sha256: &str, install: &str) -> String {
    let mut text = format!("[package]\nname = \"{name}\"\nversion = \"1.0\"\n\n");
    write!(text, "[source]\narchive = \"{url}\"\nchecksum = \"sha256:{sha256}\"\n\n").unwrap();
    write!(text, "[build]\ninstall = '''\n{install}\n'''\n").unwrap();
    text
}

/// One member of a tar archive.
pub struct Member<'a> {
    /// Its name, written as it is, however hostile.
    pub name: &'a str,
    /// Its kind.
    pub kind: tar::EntryType,
    /// Its content.
    pub content: &'a [u8],
    /// What it links to.
    pub link: Option<&'a str>,
}

impl<'a> Member<'a> {
    /// A regular file.
    pub fn file(name: &'a str, content: &'a [u8]) -> Self {
        Self { name, kind: tar::EntryType::Regular, content, link: None }
    }

    /// A symlink.
    pub fn symlink(name: &'a str, target: &'a str) -> Self {
        Self { name, kind: tar::EntryType::Symlink, content: b"", link: Some(target) }
    }

    /// A hard link.
    pub fn hard_link(name: &'a str, target: &'a str) -> Self {
        Self { name, kind: tar::EntryType::Link, content: b"", link: Some(target) }
    }
}

/// A tar archive with exactly these members.
pub fn tar_of(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_ustar();
        // The header's own setters refuse what a hostile archive holds.
        header.as_mut_bytes()[..member.name.len()].copy_from_slice(member.name.as_bytes());
        if let Some(link) = member.link {
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_entry_type(member.kind);
        header.set_mode(0o644);
        header.set_mtime(1_000_000_000);
        header.set_size(member.content.len() as u64);
        header.set_cksum();
        builder.append(&header, member.content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Compresses with zstd.
pub fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The SHA-256 of bytes, by the host's own tool.
pub fn sha256_of(env: &TestEnv, bytes: &[u8]) -> String {
    let file = env.write("sum.tmp", bytes);
    let mut command = env.command("sha256sum");
    command.arg(&file);
    let sum = env.run(command).success().stdout;
    std::fs::remove_file(file).unwrap();
    sum.split_whitespace().next().unwrap().to_owned()
}

/// Puts an archive and a recipe for it into `NAME/` and returns the recipe's path.
pub fn archive_recipe(env: &TestEnv, name: &str, archive: &[u8], install: &str) -> PathBuf {
    let file = format!("{name}-1.0.tar");
    let sum = sha256_of(env, archive);
    env.write(format!("{name}/{file}"), archive);
    env.write(format!("{name}/recipe.toml"), with_archive(name, &file, &sum, install))
}
