// kitchen/src/divide.rs
//! Which package of a build gets which file of the common output: the first output with a glob that matches.
//!
//! Globs are those of components ([`crate::classify`]), and like there a glob is matched against files and empty
//! directories: a directory follows what lies in it. What no output takes stays with the recipe's own package.

use std::collections::HashMap;

use globset::GlobMatcher;
use recipes::Product;
use store::{Node, Tree};

use crate::classify::{ClassifyError, has_children, matcher};

/// The common output, divided.
#[derive(Debug)]
pub struct Divided {
    /// What each product gets, in the order of the products.
    pub parts: Vec<Tree>,
    /// Globs that matched nothing, each with the name of its output.
    pub idle: Vec<(String, String)>,
}

/// Divides `tree` among `products`.
///
/// # Errors
/// [`ClassifyError`] for a glob that does not parse.
pub fn divide(tree: &Tree, products: &[Product<'_>]) -> Result<Divided, ClassifyError> {
    let mut globs: Vec<(usize, &str, GlobMatcher, bool)> = Vec::new();
    for (position, product) in products.iter().enumerate() {
        for glob in product.output.iter().flat_map(|output| &output.files) {
            globs.push((position, glob, matcher(glob)?, false));
        }
    }
    let own = products.iter().position(|product| product.output.is_none());
    let entries = tree.entries();
    let mut homes: HashMap<&[u8], usize> = HashMap::new();
    for (position, entry) in entries.iter().enumerate() {
        if matches!(entry.node, Node::Directory) && has_children(entries, position) {
            continue;
        }
        let path = format!("/{}", String::from_utf8_lossy(&entry.path));
        let taken = globs.iter_mut().find(|(_, _, glob, _)| glob.is_match(&path));
        let home = taken.map(|(product, _, _, used)| {
            *used = true;
            *product
        });
        if let Some(home) = home.or(own) {
            homes.insert(&entry.path, home);
        }
    }
    let parts = (0..products.len())
        .map(|product| tree.subset(|entry| homes.get(entry.path.as_slice()) == Some(&product)))
        .collect();
    let idle = globs
        .into_iter()
        .filter(|(_, _, _, used)| !used)
        .map(|(product, glob, _, _)| (products[product].package.name.to_string(), glob.to_owned()))
        .collect();
    Ok(Divided { parts, idle })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::{paths, tree};

    #[test]
    fn the_first_output_that_matches_takes_a_file() {
        let recipe = "[package]\nname = 'x'\nversion = '1'\n[build]\ninstall = 'i'\n\
            [[outputs]]\nname = 'x-doc'\nfiles = ['/usr/share/doc/**', '/nowhere']\n\
            [[outputs]]\nname = 'x-own'\ninstall = 'j'\n\
            [[outputs]]\nname = 'x-txt'\nfiles = ['*.txt', '/var/empty']\n";
        let recipe = recipes::parse(recipe, "recipe.toml").unwrap();
        let all = tree(&[
            "usr/bin/x",
            "usr/share/doc/x/a.txt",
            "usr/share/x/b.txt",
            "usr/share/x/c=usr/share/x/b.txt",
            "var/empty/",
        ]);
        let divided = divide(&all, &recipe.products()).unwrap();
        let shown: Vec<Vec<String>> = divided.parts.iter().map(paths).collect();
        assert_eq!(shown[0], ["usr/", "usr/bin/", "usr/bin/x", "usr/share/", "usr/share/x/", "usr/share/x/c"]);
        assert_eq!(shown[1], ["usr/", "usr/share/", "usr/share/doc/", "usr/share/doc/x/", "usr/share/doc/x/a.txt"]);
        assert!(shown[2].is_empty());
        assert_eq!(shown[3], ["usr/", "usr/share/", "usr/share/x/", "usr/share/x/b.txt", "var/", "var/empty/"]);
        assert!(divided.parts[0].get(b"usr/share/x/c").is_some_and(|entry| matches!(entry.node, Node::File { .. })));
        assert_eq!(divided.idle, [("x-doc".to_owned(), "/nowhere".to_owned())]);
    }
}
