// kitchen/src/scan.rs
//! What a built tree gives and needs, found by looking into its files.
//!
//! - a shared library with a `DT_SONAME`, in a directory that the loader searches, provides `soname(…)`;
//!   every `DT_NEEDED` of a program or library asks for one, unless the same package provides it;
//! - `NAME.pc` in a pkg-config directory provides `pkgconfig(NAME)` with its version and asks for what
//!   stands in its `Requires` line;
//! - the interpreter of a program (ELF or `#!`) is asked for by path, unless the package brings it;
//! - a file below `/usr/bin`, `/usr/sbin` and `/usr/libexec` can be asked for by path without being
//!   listed: paths are looked up in the file table.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use object::Endianness;
use object::elf::{DT_NEEDED, DT_SONAME, FileHeader32, FileHeader64, PT_INTERP};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use recipes::{Capability, Comparison};
use store::{Batch, Entry, Node, StoreError, Tree};

/// A library or program is read whole for its dynamic section; one past this size is not looked into.
const LARGEST_ELF: u64 = 2 << 30;

/// What one component gives and asks for, each sorted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Capabilities, in the notation of recipes.
    pub provides: BTreeSet<String>,
    /// Requirements, in the notation of recipes.
    pub requires: BTreeSet<String>,
}

/// Looks into every file of every component.
///
/// A requirement that the package itself provides, in whichever component, is left out.
///
/// # Errors
/// [`StoreError`] when a file's content cannot be read.
pub fn scan(batch: &Batch<'_>, components: &BTreeMap<String, Tree>) -> Result<BTreeMap<String, Findings>, StoreError> {
    let mut all = BTreeMap::new();
    let mut own_paths = BTreeSet::new();
    for (name, tree) in components {
        let mut findings = Findings::default();
        for entry in tree.entries() {
            own_paths.insert(format!("/{}", String::from_utf8_lossy(&entry.path)));
            look(batch, entry, &mut findings)?;
        }
        all.insert(name.clone(), findings);
    }
    let given: BTreeSet<String> = all.values().flat_map(|f| f.provides.iter().cloned()).collect();
    for findings in all.values_mut() {
        findings.requires.retain(|wanted| {
            let versionless = wanted.split(" >= ").next().unwrap_or(wanted);
            !given.contains(wanted)
                && !given.iter().any(|g| g == versionless || g.starts_with(&format!("{versionless} = ")))
                && !own_paths.contains(wanted)
                && !own_paths.contains(&format!("/usr{wanted}"))
        });
    }
    Ok(all)
}

/// Looks into one entry.
fn look(batch: &Batch<'_>, entry: &Entry, findings: &mut Findings) -> Result<(), StoreError> {
    let Node::File { object, size } = &entry.node else { return Ok(()) };
    let path = String::from_utf8_lossy(&entry.path).into_owned();
    if path.as_bytes().ends_with(b".pc") && path.contains("/pkgconfig/") {
        let text = String::from_utf8_lossy(&batch.read(object)?).into_owned();
        pkg_config(&path, &text, findings);
        return Ok(());
    }
    let executable = entry.mode & 0o111 != 0;
    let library = path.rsplit('/').next().is_some_and(|name| name.contains(".so"));
    if *size < 4 || *size > LARGEST_ELF || !(executable || library) {
        return Ok(());
    }
    let mut file = batch.open_object(object)?;
    let mut magic = [0; 4];
    if file.read_exact(&mut magic).is_err() {
        return Ok(());
    }
    if magic == *b"\x7fELF" {
        let data = batch.read(object)?;
        elf(&path, &data, findings);
    } else if magic.starts_with(b"#!") && executable {
        let mut line = vec![0; 256];
        let got = file.read(&mut line).unwrap_or(0);
        let mut text = magic[2..].to_vec();
        text.extend_from_slice(&line[..got]);
        interpreter(&text, findings);
    }
    Ok(())
}

/// Reads the dynamic section of one ELF file of either class.
fn elf(path: &str, data: &[u8], findings: &mut Findings) {
    // A file that says it is ELF and is damaged has nothing to say; the build's own checks judge it.
    let told = match data.get(4) {
        Some(1) => dynamic::<FileHeader32<Endianness>>(data),
        Some(2) => dynamic::<FileHeader64<Endianness>>(data),
        _ => None,
    };
    let Some(told) = told else { return };
    if let Some(soname) = told.soname
        && searched_by_loader(path)
    {
        findings.provides.insert(Capability::Soname { name: soname }.to_string());
    }
    for name in told.needed {
        findings.requires.insert(Capability::Soname { name }.to_string());
    }
    if let Some(path) = told.interpreter {
        findings.requires.insert(Capability::Path { path }.to_string());
    }
}

/// What the dynamic section and the program headers of one file say.
struct Dynamic {
    soname: Option<String>,
    needed: Vec<String>,
    interpreter: Option<String>,
}

fn dynamic<Elf: FileHeader<Endian = Endianness>>(data: &[u8]) -> Option<Dynamic> {
    let header = Elf::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let mut told = Dynamic { soname: None, needed: Vec::new(), interpreter: None };
    for segment in header.program_headers(endian, data).ok()? {
        if segment.p_type(endian) == PT_INTERP
            && let Ok(bytes) = segment.data(endian, data)
        {
            told.interpreter = text(bytes.split(|b| *b == 0).next().unwrap_or(bytes));
        }
    }
    let sections = header.sections(endian, data).ok()?;
    let Some((entries, strings)) = sections.dynamic(endian, data).ok()? else {
        return Some(told);
    };
    let strings = sections.strings(endian, data, strings).ok()?;
    for entry in entries {
        let tag = entry.tag(endian);
        if tag != DT_NEEDED && tag != DT_SONAME {
            continue;
        }
        let Some(name) = entry.string(endian, strings).ok().and_then(text) else { continue };
        if tag == DT_SONAME {
            told.soname = Some(name);
        } else {
            told.needed.push(name);
        }
    }
    Some(told)
}

/// A name of an ELF file or a script, if it is text that a capability can hold.
fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.chars().any(|c| c.is_control() || c == '(' || c == ')')).then(|| text.to_owned())
}

/// True for a file directly in a directory where the loader looks by default.
fn searched_by_loader(path: &str) -> bool {
    let Some((directory, _)) = path.rsplit_once('/') else { return false };
    ["usr/lib", "usr/lib64", "lib", "lib64"].contains(&directory)
        || directory
            .strip_prefix("usr/lib/")
            .or_else(|| directory.strip_prefix("lib/"))
            .is_some_and(|rest| !rest.contains('/') && rest.contains("-linux-"))
}

/// The program that a `#!` line names. `env` is looked through.
fn interpreter(rest: &[u8], findings: &mut Findings) {
    let line = rest.split(|b| *b == b'\n').next().unwrap_or(rest);
    let Some(line) = std::str::from_utf8(line).ok() else { return };
    let mut words = line.split_ascii_whitespace();
    let Some(program) = words.next().filter(|word| word.starts_with('/')) else { return };
    let program = if program.ends_with("/env") {
        match words.next() {
            Some(name) if !name.starts_with('-') && !name.contains(['=', '/']) => format!("/usr/bin/{name}"),
            _ => program.to_owned(),
        }
    } else {
        program.to_owned()
    };
    findings.requires.insert(Capability::Path { path: program }.to_string());
}

/// The name, version and `Requires` of one `.pc` file. Variables are its own and are expanded once.
fn pkg_config(path: &str, text: &str, findings: &mut Findings) {
    let Some(module) = path.rsplit('/').next().and_then(|name| name.strip_suffix(".pc")) else { return };
    let mut variables: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut version, mut requires) = (None, String::new());
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or(line).trim();
        if let Some((name, value)) = line.split_once(':') {
            match name.trim() {
                "Version" => version = Some(expand(value.trim(), &variables)),
                "Requires" => requires = expand(value.trim(), &variables),
                _ => {}
            }
        } else if let Some((name, value)) = line.split_once('=') {
            variables.insert(name.trim(), value.trim());
        }
    }
    let constraint =
        version.filter(|v| !v.is_empty() && !v.contains(char::is_whitespace)).map(|v| (Comparison::Equal, v));
    findings.provides.insert(Capability::PkgConfig { module: module.to_owned(), constraint }.to_string());
    let mut words = requires.split([',', ' ', '\t']).filter(|w| !w.is_empty()).peekable();
    while let Some(module) = words.next() {
        let comparison = match words.peek().copied() {
            Some(">=") => Some(Comparison::GreaterOrEqual),
            Some("<=") => Some(Comparison::LessOrEqual),
            Some("=") => Some(Comparison::Equal),
            Some(">") => Some(Comparison::Greater),
            Some("<") => Some(Comparison::Less),
            _ => None,
        };
        let constraint = comparison.and_then(|comparison| {
            words.next();
            words.next().map(|version| (comparison, version.to_owned()))
        });
        findings.requires.insert(Capability::PkgConfig { module: module.to_owned(), constraint }.to_string());
    }
}

/// Puts the values of `${name}` into `value`, one level deep.
fn expand(value: &str, variables: &BTreeMap<&str, &str>) -> String {
    let mut text = value.to_owned();
    for (name, value) in variables {
        text = text.replace(&format!("${{{name}}}"), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pkg_config_gives_its_version_and_asks_for_its_requires() {
        let mut findings = Findings::default();
        pkg_config(
            "usr/lib/pkgconfig/a.pc",
            "v=1.2\nName: a\nVersion: ${v}\nRequires: zlib >= 1.1, glib-2.0\n",
            &mut findings,
        );
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
        assert_eq!(list(&findings.provides), ["pkgconfig(a) = 1.2"]);
        assert_eq!(list(&findings.requires), ["pkgconfig(glib-2.0)", "pkgconfig(zlib) >= 1.1"]);
    }

    #[test]
    fn interpreters() {
        let ask = |line: &[u8]| {
            let mut findings = Findings::default();
            interpreter(line, &mut findings);
            findings.requires.into_iter().next()
        };
        assert_eq!(ask(b"/bin/sh\n").as_deref(), Some("/bin/sh"));
        assert_eq!(ask(b" /usr/bin/perl -w\nuse x").as_deref(), Some("/usr/bin/perl"));
        assert_eq!(ask(b"/usr/bin/env python3\n").as_deref(), Some("/usr/bin/python3"));
        assert_eq!(ask(b"relative\n"), None);
    }

    #[test]
    fn a_real_program_names_its_libraries_and_loader() {
        let data = std::fs::read("/bin/sh").unwrap();
        let mut findings = Findings::default();
        elf("usr/bin/sh", &data, &mut findings);
        assert!(findings.requires.iter().any(|r| r.starts_with("soname(libc.")), "{findings:?}");
        assert!(findings.requires.iter().any(|r| r.contains("/ld-")), "{findings:?}");
    }

    #[test]
    fn damaged_elf_says_nothing() {
        let data = std::fs::read("/bin/sh").unwrap();
        for cut in [4, 5, 20, 64, 100, 1000] {
            elf("usr/bin/sh", &data[..cut], &mut Findings::default());
        }
    }
}
