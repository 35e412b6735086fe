// converters/src/pkgbuild/schema.rs
//! Which attributes there are, and in which order makepkg prints them.

/// Kinds of checksums, in makepkg's order.
pub(super) const SUMS: [&str; 8] =
    ["cksums", "md5sums", "sha1sums", "sha224sums", "sha256sums", "sha384sums", "sha512sums", "b2sums"];

/// Attributes with one value, of a base.
pub const SCALARS: [&str; 7] = ["pkgdesc", "pkgver", "pkgrel", "epoch", "url", "install", "changelog"];

/// Attributes with several values, of a base; the checksums follow.
pub(super) const ARRAYS: [&str; 15] = [
    "arch",
    "groups",
    "license",
    "checkdepends",
    "makedepends",
    "depends",
    "optdepends",
    "provides",
    "conflicts",
    "replaces",
    "noextract",
    "options",
    "backup",
    "source",
    "validpgpkeys",
];

/// Attributes with one value, of a package.
pub(super) const PACKAGE_SCALARS: [&str; 4] = ["pkgdesc", "url", "install", "changelog"];

/// Attributes with several values, of a package.
pub(super) const PACKAGE_ARRAYS: [&str; 11] = [
    "arch",
    "groups",
    "license",
    "checkdepends",
    "depends",
    "optdepends",
    "provides",
    "conflicts",
    "replaces",
    "options",
    "backup",
];

/// Attributes that an architecture may have of its own; the checksums follow.
pub(super) const BY_ARCHITECTURE: [&str; 8] =
    ["source", "provides", "conflicts", "depends", "replaces", "optdepends", "makedepends", "checkdepends"];

/// Whether an attribute, without its architecture, is a list.
#[must_use]
pub fn is_array(attribute: &str) -> bool {
    ARRAYS.contains(&attribute) || SUMS.contains(&attribute)
}
