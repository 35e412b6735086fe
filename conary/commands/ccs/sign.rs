// conary/commands/ccs/sign.rs
//! `conary ccs keygen`, `sign` and `export`: keys, and packages with signatures.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use recipes::TroveSpec;
use store::ccs::{Package, SecretKey, WriteOptions};
use store::durable;

use super::{named, open, put};
use crate::cli::StoreArgs;
use crate::commands::Context;
use crate::commands::install::spec;
use crate::exit::Code;
use crate::failure::{Failure, Outcome};

/// The arguments of `conary ccs sign`.
#[derive(Debug, Args)]
#[command(after_long_help = super::EXAMPLES)]
pub struct Arguments {
    /// The package files; each is replaced by the same package with one more signature
    #[arg(value_name = "FILE.ccs", required = true)]
    files: Vec<PathBuf>,
    /// The file with the secret key, as `conary ccs keygen` made it
    #[arg(long, value_name = "NAME.key")]
    key: PathBuf,
}

/// The arguments of `conary ccs keygen`.
#[derive(Debug, Args)]
#[command(after_long_help = super::EXAMPLES)]
pub struct KeygenArguments {
    /// What the files are called: NAME.key holds the secret key, NAME.pub the public one
    #[arg(value_name = "NAME")]
    name: PathBuf,
}

/// The arguments of `conary ccs export`.
#[derive(Debug, Args)]
#[command(after_long_help = super::EXAMPLES)]
pub struct ExportArguments {
    /// The troves: names, or names and versions
    #[arg(value_name = "NAME", required = true)]
    troves: Vec<String>,
    /// Where the packages go
    #[arg(long, value_name = "DIR", default_value = "dist")]
    output: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

/// Signs each package.
pub fn sign(arguments: &Arguments, context: &Context<'_>) -> Outcome {
    let path = context.environment.absolute(&arguments.key);
    let text = std::fs::read_to_string(&path).map_err(|error| file_failure("read", &arguments.key, &error))?;
    let key = SecretKey::from_file(&text).map_err(|error| {
        let message = format!("{}: {error}", arguments.key.display());
        Failure::new(Code::Usage, message).hint("`conary ccs keygen` makes one")
    })?;
    for file in &arguments.files {
        let package = open(file, context)?;
        let mut signatures = package.signatures().to_vec();
        signatures.retain(|signature| signature.key != key.public());
        signatures.push(key.sign(&package.id()));
        put(file, context, |out| package.write_with(&signatures, out))?;
        context.ui.story("Signed", &format!("{} by {}", file.display(), key.public()));
    }
    Ok(Code::Success)
}

/// Makes two files that are not there yet.
pub fn keygen(arguments: &KeygenArguments, context: &Context<'_>) -> Outcome {
    let mut seed = [0; 32];
    let random = Path::new("/dev/urandom");
    let read = File::open(random).and_then(|mut file| file.read_exact(&mut seed));
    read.map_err(|error| file_failure("read", random, &error))?;
    let key = SecretKey::from_seed(&seed);
    let files = [("key", 0o600, key.to_file()), ("pub", 0o644, key.public().to_file())];
    for (extension, _, _) in &files {
        let path = arguments.name.with_added_extension(extension);
        if context.environment.absolute(&path).symlink_metadata().is_ok() {
            let message = format!("{} is there already", path.display());
            return Err(Failure::new(Code::Usage, message).hint("a key is never overwritten; choose another name"));
        }
    }
    for (extension, mode, text) in &files {
        let path = arguments.name.with_added_extension(extension);
        write_new(&context.environment.absolute(&path), *mode, text)
            .map_err(|error| file_failure("make", &path, &error))?;
    }
    context.ui.line(&key.public().to_string())?;
    let secret = arguments.name.with_added_extension("key");
    context.ui.story("Made", &format!("{}: keep it to yourself", secret.display()));
    Ok(Code::Success)
}

fn write_new(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let directory = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let mut file = durable::create(&directory, path.file_name().unwrap_or_default())?;
    file.write_all(text.as_bytes())?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode))?;
    durable::sync_file(&file)?;
    durable::sync_directory(&directory)
}

/// Writes packages, with the signatures that the store keeps.
pub fn export(arguments: &ExportArguments, context: &Context<'_>) -> Outcome {
    let store = context.read_store(&arguments.store)?;
    let _hold = store.hold()?;
    let output = context.environment.absolute(&arguments.output);
    std::fs::create_dir_all(&output).map_err(|error| file_failure("make", &arguments.output, &error))?;
    for word in &arguments.troves {
        let wanted = spec(word)?;
        let fits = |found: &TroveSpec| wanted.version.is_none() || wanted.version == found.version;
        let row = store.find_troves(wanted.name.as_str())?.into_iter().find(|row| fits(&row.spec));
        let Some(row) = row else {
            return Err(Failure::new(Code::NotFound, format!("the store has no {word}"))
                .hint("`conary cook` makes it, `conary store list` shows what there is"));
        };
        let manifest = store.trove(&row.id)?;
        let path = arguments.output.join(manifest.file_name());
        put(&path, context, |out| {
            store::ccs::write(&store, None, &manifest, out, &WriteOptions::default(), context.cancel).map(drop)
        })?;
        let signatures = store.signatures(&row.id)?;
        if !signatures.is_empty() {
            let opened = File::open(output.join(manifest.file_name()));
            let opened = opened.map_err(|error| file_failure("open", &path, &error))?;
            let package = Package::open(opened).map_err(|error| named(&path, Failure::from(error)))?;
            put(&path, context, |out| package.write_with(&signatures, out))?;
        }
        context.ui.line(&path.display().to_string())?;
    }
    Ok(Code::Success)
}

fn file_failure(action: &str, path: &Path, error: &io::Error) -> Failure {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let failure = Failure::of(if missing { Code::NotFound } else { Code::System }, error, None);
    Failure { message: format!("cannot {action} {}", path.display()), causes: vec![error.to_string()], ..failure }
}
