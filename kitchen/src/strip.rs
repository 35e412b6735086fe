// kitchen/src/strip.rs
//! Stripping: programs and libraries lose what running them does not need.
//!
//! The tools are those of the build root, run in the sandbox on copies of the files, so that what comes out is what
//! they would have made during the build. Which files, and how, is makepkg's rule:
//!
//! | file | how |
//! |---|---|
//! | program with fixed addresses | `--strip-all` |
//! | library, program that can lie anywhere, kernel module | `--strip-unneeded` |
//! | static library | `--strip-debug`, and what link-time optimisation left goes |
//! | anything that its owner may not write | left alone |
//!
//! With `debuginfo`, what goes is first kept in `/usr/lib/debug/PATH.debug`, and the build id leads there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use object::Endianness;
use object::elf::{ELF_NOTE_GNU, ET_DYN, ET_EXEC, ET_REL, FileHeader32, FileHeader64, FileType, NT_GNU_BUILD_ID};
use object::read::archive::ArchiveFile;
use object::read::elf::{FileHeader, ProgramHeader};
use recipes::{Digest, Policies, Policy};
use store::{Batch, Entry, IngestOptions, Node, StoreError, Tree};

use crate::harvest::HarvestError;
use crate::log::Log;
use crate::phases::{self, Step};
use crate::plate::Plating;
use crate::tidy::TidyError;
use crate::workspace::WorkspaceError;

/// First bytes of a static library.
const ARCHIVE: &[u8; 8] = b"!<arch>\n";

/// Where symbols are kept.
const DEBUG: &str = "usr/lib/debug";

/// How many files one call of a tool gets: far below what an argument list holds.
const AT_ONCE: usize = 256;

/// What kind of file is stripped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Program,
    Shared,
    Static,
}

impl Kind {
    fn option(self) -> &'static str {
        match self {
            Kind::Program => "--strip-all",
            Kind::Shared => "--strip-unneeded",
            Kind::Static => "--strip-debug",
        }
    }
}

/// One file that is stripped, as often as it lies in the outputs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Work {
    object: Digest,
    kind: Kind,
    /// The last part of its path, which its debug link will name; `None` where no symbols are kept.
    debug_name: Option<String>,
}

/// What became of one file.
#[derive(Debug, Default)]
struct Stripped {
    file: Option<(Digest, u64)>,
    debug: Option<Entry>,
    build_id: Option<String>,
}

/// Strips the files of all trees whose policies ask for it.
///
/// # Errors
/// [`HarvestError`] if a tool cannot be run, or the store cannot be read or written.
pub fn strip(
    trees: &mut [Tree],
    policies: &[&Policies],
    plating: &Plating<'_>,
    log: &mut Log,
) -> Result<(), HarvestError> {
    let mut all: Vec<BTreeMap<Vec<u8>, Work>> = Vec::with_capacity(trees.len());
    for (tree, policies) in trees.iter().zip(policies) {
        let mut files = BTreeMap::new();
        for entry in tree.entries().iter().filter(|_| policies.has(Policy::Strip)) {
            if let Some(work) = look(plating.batch, entry, policies.has(Policy::DebugInfo))? {
                files.insert(entry.path.clone(), work);
            }
        }
        all.push(files);
    }
    let work: BTreeSet<&Work> = all.iter().flat_map(BTreeMap::values).collect();
    if work.is_empty() {
        return Ok(());
    }
    let work: Vec<&Work> = work.into_iter().collect();
    let made = run(&work, plating, log)?;
    let results: BTreeMap<&Work, Stripped> = work.into_iter().zip(made).collect();
    for (tree, files) in trees.iter_mut().zip(&all) {
        *tree = apply(std::mem::take(tree), files, &results).map_err(TidyError::Tree)?;
    }
    Ok(())
}

/// What is to be done with one entry, if anything.
fn look(batch: &Batch<'_>, entry: &Entry, keeps_symbols: bool) -> Result<Option<Work>, StoreError> {
    let Node::File { object, size } = entry.node else { return Ok(None) };
    if entry.mode & 0o200 == 0 || size < 8 {
        return Ok(None);
    }
    let mut magic = [0; 8];
    let mut file = batch.open_object(&object)?;
    if file.read_exact(&mut magic).is_err() || !(magic.starts_with(b"\x7fELF") || magic == *ARCHIVE) {
        return Ok(None);
    }
    let name = String::from_utf8_lossy(entry.file_name()).into_owned();
    let Some(kind) = kind_of(&name, &batch.read(&object)?) else { return Ok(None) };
    // A name that a shell would read is not worth the quoting: such a file keeps no symbols.
    let plain =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte)) && !name.starts_with('-');
    let debug_name = (keeps_symbols && plain && kind != Kind::Static).then_some(name);
    Ok(Some(Work { object, kind, debug_name }))
}

/// What kind of file this is; `None` for one that is not stripped.
fn kind_of(name: &str, data: &[u8]) -> Option<Kind> {
    if data.starts_with(ARCHIVE) {
        let archive = ArchiveFile::parse(data).ok()?;
        let mut members = archive.members().filter_map(|member| member.ok()?.data(data).ok());
        return members.any(|member| elf_type(member) == Some(ET_REL)).then_some(Kind::Static);
    }
    match elf_type(data)? {
        ET_EXEC => Some(Kind::Program),
        ET_DYN => Some(Kind::Shared),
        ET_REL if Path::new(name).extension().is_some_and(|suffix| suffix == "ko") => Some(Kind::Shared),
        _ => None,
    }
}

/// The type in an ELF file's header.
fn elf_type(data: &[u8]) -> Option<FileType> {
    fn of<Elf: FileHeader<Endian = Endianness>>(data: &[u8]) -> Option<FileType> {
        let header = Elf::parse(data).ok()?;
        Some(header.e_type(header.endian().ok()?))
    }
    match data.get(4)? {
        1 => of::<FileHeader32<Endianness>>(data),
        2 => of::<FileHeader64<Endianness>>(data),
        _ => None,
    }
}

/// Runs the tools on copies of all files; the results come in the order of `work`.
fn run(work: &[&Work], plating: &Plating<'_>, log: &mut Log) -> Result<Vec<Stripped>, HarvestError> {
    let Plating { kitchen, batch, cancel, listener, .. } = *plating;
    let place = kitchen.workspace.strip();
    for (number, one) in work.iter().enumerate() {
        let directory = place.join(number.to_string());
        let path = directory.join(one.debug_name.as_deref().unwrap_or("file"));
        let failed = |source| WorkspaceError::Io { act: "write", path: path.clone(), source };
        let copy = || {
            fs::create_dir(&directory)?;
            let mut file = File::create(&path)?;
            io::copy(&mut batch.open_object(&one.object).map_err(io::Error::other)?, &mut file).map(drop)
        };
        copy().map_err(failed)?;
    }
    kitchen.workspace.give(kitchen.workspace.strip())?;
    let script = script(work, &kitchen.strip_place());
    phases::alone(kitchen, &Step::Strip, &script, log, cancel, listener)?;
    let directory = kitchen.workspace.open(&place)?;
    let made = batch.ingest(&directory, &IngestOptions::default(), cancel)?;
    let mut results = Vec::with_capacity(work.len());
    for (number, one) in work.iter().enumerate() {
        let name = one.debug_name.as_deref().unwrap_or("file");
        let find = |name: &str| made.get(format!("{number}/{name}").as_bytes());
        let content = |entry: &Entry| match entry.node {
            Node::File { object, size } => Some((object, size)),
            _ => None,
        };
        let debug = one.debug_name.as_ref().and_then(|_| find(&format!("{name}.debug"))).cloned();
        let build_id = match debug {
            Some(_) => build_id(&batch.read(&one.object)?),
            None => None,
        };
        results.push(Stripped { file: find(name).and_then(content), debug, build_id });
    }
    Ok(results)
}

/// The commands that strip all files in their directories below `place`.
fn script(work: &[&Work], place: &str) -> String {
    let mut script = format!(
        "for tool in strip objcopy; do\n  command -v \"$tool\" >/dev/null || {{ echo \"$tool is not in the build root\" >&2; exit 127; }}\n\
         done\ncd '{place}'\n"
    );
    let mut put = |line: String| {
        script.push_str(&line);
        script.push('\n');
    };
    for (number, name) in work.iter().enumerate().filter_map(|(number, one)| Some((number, one.debug_name.as_ref()?))) {
        let file = format!("{number}/{name}");
        put(format!(
            "! objcopy --only-keep-debug {file} {file}.debug || objcopy --add-gnu-debuglink={file}.debug {file}"
        ));
    }
    for kind in [Kind::Program, Kind::Shared, Kind::Static] {
        let of_kind = work.iter().enumerate().filter(|(_, one)| one.kind == kind);
        let files: Vec<String> =
            of_kind.map(|(number, one)| format!("{number}/{}", one.debug_name.as_deref().unwrap_or("file"))).collect();
        for some in files.chunks(AT_ONCE) {
            // A file that a tool cannot read stays as it is.
            put(format!("strip -D {} {} || :", kind.option(), some.join(" ")));
            if kind == Kind::Static {
                put(format!("strip -D -R '.gnu.lto_*' -R '.gnu.debuglto_*' -N __gnu_lto_v1 {} || :", some.join(" ")));
            }
        }
    }
    script
}

/// The build id of a program or library, in hexadecimal digits.
fn build_id(data: &[u8]) -> Option<String> {
    fn of<Elf: FileHeader<Endian = Endianness>>(data: &[u8]) -> Option<Vec<u8>> {
        let header = Elf::parse(data).ok()?;
        let endian = header.endian().ok()?;
        for segment in header.program_headers(endian, data).ok()? {
            let Some(mut notes) = segment.notes(endian, data).ok()? else { continue };
            while let Ok(Some(note)) = notes.next() {
                if note.name() == ELF_NOTE_GNU && note.n_type(endian) == NT_GNU_BUILD_ID {
                    return Some(note.desc().to_vec());
                }
            }
        }
        None
    }
    let id = match data.get(4)? {
        1 => of::<FileHeader32<Endianness>>(data),
        2 => of::<FileHeader64<Endianness>>(data),
        _ => None,
    }?;
    let digits = id.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("because writing to a String cannot fail");
        digits
    });
    (digits.len() > 2).then_some(digits)
}

/// Puts what was made into the place of what was there, and kept symbols beside it.
fn apply(
    tree: Tree,
    files: &BTreeMap<Vec<u8>, Work>,
    results: &BTreeMap<&Work, Stripped>,
) -> Result<Tree, store::TreeError> {
    let mut entries: BTreeMap<Vec<u8>, Entry> =
        tree.into_entries().into_iter().map(|entry| (entry.path.clone(), entry)).collect();
    for (path, work) in files {
        let Some(stripped) = results.get(work) else { continue };
        let Some(entry) = entries.get_mut(path) else { continue };
        if let Some((object, size)) = stripped.file {
            entry.node = Node::File { object, size };
        }
        let mode = entry.mode;
        let Some(debug) = &stripped.debug else { continue };
        let path = String::from_utf8_lossy(path).into_owned();
        let debug_path = format!("{DEBUG}/{path}.debug");
        // As objcopy leaves it.
        put(&mut entries, &debug_path, Entry { mode: mode & 0o777, ..debug.clone() });
        let Some(id) = &stripped.build_id else { continue };
        let (directory, rest) = id.split_at(2);
        let link = |target: String| {
            let node = Node::Symlink { target: target.into_bytes() };
            Entry { mode: 0o777, node, ..debug.clone() }
        };
        // From /usr/lib/debug/.build-id/XX/ to /, without what the way down has in common with the way up.
        let up = path.strip_prefix("usr/lib/").map(|rest| format!("../../../{rest}"));
        let up = up.or_else(|| path.strip_prefix("usr/").map(|rest| format!("../../../../{rest}")));
        let target = up.unwrap_or_else(|| format!("../../../../../{path}"));
        put(&mut entries, &format!("{DEBUG}/.build-id/{directory}/{rest}"), link(target));
        put(&mut entries, &format!("{DEBUG}/.build-id/{directory}/{rest}.debug"), link(format!("../../{path}.debug")));
    }
    Tree::new(entries.into_values().collect())
}

/// Puts an entry at a path that is free, with the directories above it.
fn put(entries: &mut BTreeMap<Vec<u8>, Entry>, path: &str, entry: Entry) {
    for (at, _) in path.match_indices('/') {
        let above = path.as_bytes()[..at].to_vec();
        let directory = Entry { path: above.clone(), mode: 0o755, node: Node::Directory, ..entry.clone() };
        entries.entry(above).or_insert(directory);
    }
    let path = path.as_bytes().to_vec();
    entries.entry(path.clone()).or_insert(Entry { path, ..entry });
}
