// recipes/src/load.rs
//! Opens a recipe's file; everything else in this crate works on text.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnostic;
use crate::read::{self, RECIPE_BYTES};
use crate::recipe::{Origin, Recipe};

/// Reads a recipe from its text. `file_name` is what diagnostics call it.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file. Never empty.
pub fn parse(text: &str, file_name: &str) -> Result<Recipe, Vec<Diagnostic>> {
    read::recipe(&Origin { file: file_name.into(), text: text.into() }, None)
}

/// Reads the recipe in the file at `path`, which diagnostics then name.
///
/// # Errors
/// The file cannot be read, is no regular file, is larger than a recipe can be, or is not a sound recipe.
pub fn load(path: &Path) -> Result<Recipe, LoadError> {
    let unreadable = |source| LoadError::Read { path: path.to_owned(), source };
    // Asked before opening: opening a pipe would wait for its other end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(LoadError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(unreadable)?;
    let limit = u64::try_from(RECIPE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > RECIPE_BYTES {
        return Err(LoadError::Large { path: path.to_owned() });
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = sound.split(|byte| *byte == b'\n').count();
            return Err(LoadError::NotUtf8 { path: path.to_owned(), line });
        }
    };
    parse(&text, &path.to_string_lossy())
        .map_err(|diagnostics| LoadError::Invalid { path: path.to_owned(), diagnostics })
}

/// Why there is no recipe.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The system refused.
    #[error("cannot read the recipe {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, a device or a pipe.
    #[error("the recipe {} is not a regular file", path.display())]
    NotAFile {
        /// What is not a file.
        path: PathBuf,
    },
    /// More than a recipe can be.
    #[error("the recipe {} is larger than {} MiB", path.display(), RECIPE_BYTES >> 20)]
    Large {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are no text.
    #[error("the recipe {} is not UTF-8 in line {line}", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line of the first byte that is wrong.
        line: usize,
    },
    /// Text that is no sound recipe.
    #[error("{}", diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong, in the order of the file. Never empty.
        diagnostics: Vec<Diagnostic>,
    },
}

impl LoadError {
    /// Returns what to do about it. [`LoadError::Invalid`] carries a hint with each diagnostic instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            LoadError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("a recipe is a file called `recipe.toml`; name the file or the directory that holds it".to_owned())
            }
            LoadError::NotAFile { .. } => Some("name the file `recipe.toml` itself".to_owned()),
            LoadError::Large { .. } => Some("put data into files beside the recipe".to_owned()),
            LoadError::NotUtf8 { .. } => Some("save it as UTF-8".to_owned()),
            LoadError::Read { .. } | LoadError::Invalid { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn load_bytes(bytes: &[u8]) -> Result<Recipe, LoadError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recipe.toml");
        File::create(&path).unwrap().write_all(bytes).unwrap();
        load(&path)
    }

    #[test]
    fn a_file_is_read_within_bounds() {
        assert!(load_bytes(b"[package]\nname = 'a'\nversion = '1'\n").is_ok());
        assert!(load_bytes(b"\xef\xbb\xbf[package]\nname = 'a'\nversion = '1'\n").is_ok());
        assert!(matches!(load_bytes(b"[package]\n\xff"), Err(LoadError::NotUtf8 { line: 2, .. })));
        assert!(matches!(load_bytes(b""), Err(LoadError::Invalid { .. })));
        let error = load_bytes(&vec![b'#'; RECIPE_BYTES + 1]).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("put data into files beside the recipe"));
        let mut large = b"[package]\nname = 'a'\nversion = '1'\n".to_vec();
        large.resize(RECIPE_BYTES, b'#');
        assert!(load_bytes(&large).is_ok());
    }

    #[test]
    fn a_huge_file_is_refused_without_reading_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recipe.toml");
        File::create(&path).unwrap().set_len(100 << 20).unwrap();
        assert!(matches!(load(&path), Err(LoadError::Large { .. })));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(load(directory.path()), Err(LoadError::NotAFile { .. })));
        assert!(matches!(load(Path::new("/dev/zero")), Err(LoadError::NotAFile { .. })));
        let error = load(&directory.path().join("none.toml")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the recipe "));
        assert!(error.hint().unwrap().contains("recipe.toml"));
    }
}
