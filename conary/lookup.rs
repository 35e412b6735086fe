// conary/lookup.rs
//! Which recipe a word of the command line means.
//!
//! In this order:
//!
//! 1. a path to a file;
//! 2. a path to a directory that holds a `recipe.toml`, or else a `PKGBUILD`;
//! 3. a name, without a slash: `recipes/NAME/recipe.toml`, then `recipes/cookbook/NAME/recipe.toml`, in the current
//!    directory and then in each directory above it.
//!
//! Without a word it is the `recipe.toml` or `PKGBUILD` of the current directory.

use std::path::{Path, PathBuf};

use crate::exit::Code;
use crate::failure::Failure;
use crate::pkgbuild;

/// The file name of every recipe.
const FILE: &str = "recipe.toml";

/// Where recipes are kept below a working directory.
const SHELVES: [&str; 2] = ["recipes", "recipes/cookbook"];

/// Finds the recipe that `word` means, seen from `directory`.
///
/// # Errors
/// [`Code::NotFound`], with the places that were looked at.
pub fn find(word: &str, directory: &Path) -> Result<PathBuf, Failure> {
    let path = directory.join(word);
    if path.is_file() {
        return Ok(path);
    }
    if path.join(FILE).is_file() {
        return Ok(path.join(FILE));
    }
    if path.join(pkgbuild::FILE).is_file() {
        return Ok(path.join(pkgbuild::FILE));
    }
    let is_name = !word.is_empty() && !word.contains('/') && word != "." && word != "..";
    if is_name {
        for above in directory.ancestors() {
            for shelf in SHELVES {
                let candidate = above.join(shelf).join(word).join(FILE);
                if candidate.is_file() {
                    return Ok(candidate);
                }
            }
        }
        let failure = Failure::new(Code::NotFound, format!("no recipe is called {word}"));
        return Err(failure.hint(format!(
            "looked for {word}, {word}/{FILE}, recipes/{word}/{FILE} and recipes/cookbook/{word}/{FILE}, here and in the directories above"
        )));
    }
    if path.is_dir() {
        let failure = Failure::new(Code::NotFound, format!("there is no {FILE} in {}", path.display()));
        return Err(failure.hint(format!("name the recipe, its directory, or write a {FILE}")));
    }
    Err(Failure::new(Code::NotFound, format!("there is no recipe at {}", path.display())))
}

/// Finds all recipes that a command line names; the one of the current directory if it names none.
///
/// # Errors
/// As [`find`].
pub fn find_all(words: &[String], directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    if words.is_empty() {
        return Ok(vec![find(".", directory)?]);
    }
    words.iter().map(|word| find(word, directory)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn words_are_looked_up_in_the_documented_order() {
        let top = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = top.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        for path in [
            "recipes/a/recipe.toml",
            "recipes/cookbook/a/recipe.toml",
            "recipes/cookbook/b/recipe.toml",
            "sub/a/recipe.toml",
            "sub/a/PKGBUILD",
            "sub/p/PKGBUILD",
            "x.toml",
        ] {
            write(path);
        }
        let found = |word: &str, from: &str| {
            let path = find(word, &top.path().join(from)).ok()?;
            Some(path.strip_prefix(top.path()).unwrap().to_string_lossy().replace("./", ""))
        };
        for (word, from, expected) in [
            ("x.toml", "", Some("x.toml")),
            ("sub/a", "", Some("sub/a/recipe.toml")),
            ("a", "", Some("recipes/a/recipe.toml")),
            ("a", "sub", Some("sub/a/recipe.toml")),
            ("b", "sub", Some("recipes/cookbook/b/recipe.toml")),
            (".", "sub/a", Some("sub/a/recipe.toml")),
            ("sub/p", "", Some("sub/p/PKGBUILD")),
            ("sub/a/PKGBUILD", "", Some("sub/a/PKGBUILD")),
            (".", "sub/p", Some("sub/p/PKGBUILD")),
            (".", "", None),
            ("recipes/c", "", None),
            ("c", "", None),
        ] {
            assert_eq!(found(word, from).as_deref(), expected, "{word} from {from:?}");
        }
    }
}
