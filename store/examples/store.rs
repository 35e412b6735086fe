// store/examples/store.rs
//! The store called directly, without a recipe or a root: what `tests/bench/store.sh` and `packages.sh` measure.
//!
//! ```text
//! store ingest   STORE DIRECTORY           puts a directory in as a trove, synced; prints its id
//! store checkout STORE ID TARGET link|copy lays a trove out in a new directory
//! store write    STORE ID FILE LEVEL       writes its package, prints its size
//! store import   STORE FILE                imports a package, synced
//! store verify   STORE                     compares every object with its name
//! store hash     DIRECTORY                 hashes every file below a directory, and that is all
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;
use store::ccs::{self, Package, WriteOptions};
use store::{
    CheckoutOptions, Component, IngestOptions, LinkMode, MANIFEST_FORMAT, Manifest, Node, OpenOptions, Store,
    VerifyOptions,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

static GO_ON: AtomicBool = AtomicBool::new(false);

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["ingest", store, directory] => ingest(&open(store)?, Path::new(directory)),
        ["checkout", store, id, target, how] => checkout(&open(store)?, id, Path::new(target), how),
        ["write", store, id, file, level] => {
            let store = open(store)?;
            let manifest = store.trove(&id.parse()?)?;
            let mut out = BufWriter::with_capacity(1 << 20, File::create(file)?);
            let written =
                ccs::write(&store, None, &manifest, &mut out, &WriteOptions { level: level.parse()? }, &GO_ON)?;
            out.flush()?;
            let (content, stored) = Package::open(File::open(file)?)?.payload_bytes();
            println!("{} bytes, payload {stored} of {content} bytes", written.size_bytes);
            Ok(())
        }
        ["import", store, file] => {
            let package = Package::open(File::open(file)?)?;
            println!("{}", package.import(&open(store)?, &GO_ON, &|_, _| ())?);
            Ok(())
        }
        ["verify", store] => {
            let report = open(store)?.verify(&VerifyOptions::default(), &mut |_| {}, &GO_ON)?;
            println!("{} bytes, {} problems", report.bytes, report.problems.len());
            Ok(())
        }
        ["hash", directory] => {
            let mut files = Vec::new();
            walk(Path::new(directory), &mut files)?;
            let hash = |path: &PathBuf| -> Outcome<u64> {
                let mut hasher = blake3::Hasher::new();
                Ok(hasher.update_reader(File::open(path)?)?.count())
            };
            let bytes: u64 = files.par_iter().map(hash).sum::<Outcome<u64>>()?;
            println!("{bytes} bytes");
            Ok(())
        }
        _ => Err("usage: store ingest|checkout|write|import|verify|hash …".into()),
    }
}

fn open(directory: &str) -> Outcome<Store> {
    Ok(Store::open(Path::new(directory), &OpenOptions::default())?)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Outcome<()> {
    for found in fs::read_dir(directory)? {
        let found = found?;
        if found.file_type()?.is_dir() {
            walk(&found.path(), files)?;
        } else {
            files.push(found.path());
        }
    }
    Ok(())
}

fn ingest(store: &Store, directory: &Path) -> Outcome<()> {
    let batch = store.batch()?;
    let tree = batch.ingest(File::open(directory)?, &IngestOptions::default(), &GO_ON)?;
    let id = batch.add_tree(&tree)?;
    let files = tree.entries().iter().filter(|entry| entry.node != Node::Directory).count() as u64;
    let (_, size_bytes) = tree.content();
    let component = Component { tree: id, files, size_bytes, provides: vec![], requires: vec![] };
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
    println!("{}", manifest.id());
    batch.add_trove(manifest, vec![]);
    batch.commit()?;
    Ok(())
}

fn checkout(store: &Store, id: &str, target: &Path, how: &str) -> Outcome<()> {
    let manifest = store.trove(&id.parse()?)?;
    fs::create_dir(target)?;
    let link_mode = if how == "copy" { LinkMode::Copy } else { LinkMode::Hardlink };
    let options = CheckoutOptions { link_mode, ..CheckoutOptions::default() };
    for component in manifest.components.values() {
        store.checkout(&store.tree(&component.tree)?, File::open(target)?, &options, &GO_ON)?;
    }
    Ok(())
}
