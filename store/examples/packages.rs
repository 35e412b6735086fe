// store/examples/packages.rs
//! Packs a directory and imports a package, without a recipe: what `tests/bench/packages.py` measures.
//!
//! ```text
//! packages ingest STORE DIRECTORY              puts a directory in as a trove, prints its id
//! packages write  STORE ID FILE LEVEL THREADS  writes its package
//! packages import STORE FILE THREADS           imports a package
//! packages verify FILE THREADS                 checks every digest of a package
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use store::ccs::{self, Package, WriteOptions};
use store::{Batch, Component, Entry, MANIFEST_FORMAT, Manifest, Node, OpenOptions, Store, Tree};

type Outcome<T> = Result<T, Box<dyn Error>>;

static GO_ON: AtomicBool = AtomicBool::new(false);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["ingest", store, directory] => ingest(&open(store)?, Path::new(directory)),
        ["write", store, id, file, level, threads] => {
            let options = WriteOptions { level: level.parse()? };
            with_threads(threads, || write(&open(store)?, id, file, options))
        }
        ["import", store, file, threads] => with_threads(threads, || {
            let package = Package::open(File::open(file)?)?;
            println!("{}", package.import(&open(store)?, &GO_ON, &|_, _| ())?);
            Ok(())
        }),
        ["verify", file, threads] => {
            with_threads(threads, || Ok(Package::open(File::open(file)?)?.verify(&GO_ON, &|_, _| ())?))
        }
        _ => Err("usage: packages ingest|write|import|verify …".into()),
    }
}

fn open(directory: &str) -> Outcome<Store> {
    Ok(Store::open(Path::new(directory), &OpenOptions::default())?)
}

fn with_threads(threads: &str, work: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    work()
}

fn write(store: &Store, id: &str, file: &str, options: WriteOptions) -> Outcome<()> {
    let manifest = store.trove(&id.parse()?)?;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
    let written = ccs::write(store, &manifest, &mut out, &options, &GO_ON)?;
    out.flush()?;
    let package = Package::open(File::open(file)?)?;
    let (content, stored) = package.payload_bytes();
    println!("{} bytes, payload {stored} of {content} bytes", written.size_bytes);
    Ok(())
}

fn ingest(store: &Store, directory: &Path) -> Outcome<()> {
    let batch = store.batch()?;
    let mut entries = Vec::new();
    walk(&batch, directory, &mut Vec::new(), &mut entries)?;
    let tree = Tree::new(entries)?;
    let (_, size_bytes) = tree.content();
    let files = tree.entries().iter().filter(|entry| entry.node != Node::Directory).count();
    let component =
        Component { tree: batch.add_tree(&tree)?, files: files as u64, size_bytes, provides: vec![], requires: vec![] };
    batch.commit()?;
    let manifest = Manifest {
        format: MANIFEST_FORMAT,
        name: "sample".parse()?,
        version: "1.0-1".parse()?,
        arch: "any".to_owned(),
        flavor: String::new(),
        label: None,
        summary: None,
        description: None,
        homepage: None,
        license: None,
        components: BTreeMap::from([("runtime".to_owned(), component)]),
        requires: vec![],
        recommends: vec![],
        provides: vec![],
        conflicts: vec![],
        replaces: vec![],
        config: store::Config::default(),
        groups: vec![],
        suggests: vec![],
        scripts: recipes::Scripts::new(),
        hooks: store::Hooks::default(),
    };
    println!("{}", store.put_trove(&manifest)?);
    Ok(())
}

fn walk(batch: &Batch<'_>, directory: &Path, prefix: &mut Vec<u8>, entries: &mut Vec<Entry>) -> Outcome<()> {
    for found in fs::read_dir(directory)? {
        let found = found?;
        let metadata = found.metadata()?;
        let length = prefix.len();
        prefix.extend_from_slice(found.file_name().as_bytes());
        let mut mode = metadata.permissions().mode() & 0o7777;
        let node = if metadata.is_dir() {
            Node::Directory
        } else if metadata.is_symlink() {
            mode = 0o777;
            Node::Symlink { target: fs::read_link(found.path())?.into_os_string().into_vec() }
        } else {
            let (object, size) = batch.add_file(&mut File::open(found.path())?, mode)?;
            Node::File { object, size }
        };
        let owner = "root".to_owned();
        let (group, xattrs, path) = (owner.clone(), BTreeMap::new(), prefix.clone());
        entries.push(Entry { path, mode, owner, group, xattrs, node });
        if metadata.is_dir() {
            prefix.push(b'/');
            walk(batch, &found.path(), prefix, entries)?;
        }
        prefix.truncate(length);
    }
    Ok(())
}
