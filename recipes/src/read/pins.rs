// recipes/src/read/pins.rs
//! What pins a source: checksums, the commit, a signature and the keys that may have made it.

use crate::digest::Digest;
use crate::reader::{Reader, Section, Text};
use crate::recipe::{GitProof, Signature};
use crate::text::quote;

use super::locations::{is_file, is_url, stays_inside};

/// What to do about bytes that nothing pins.
const PIN: &str = "run `conary source pin RECIPE`: it fetches, shows where the bytes came from and writes the SHA-256";

/// Reads the checksums of a file that must have one.
pub(super) fn checksums<'t>(reader: &mut Reader<'t>, section: &Section<'t>, file: &str) -> Vec<Digest> {
    if !section.has("checksum") {
        reader.missing(
            section.key_span(file),
            format!("`{file}` has no `checksum`: nothing says what its bytes must be"),
            PIN,
        );
    }
    digests(reader, section)
}

/// Reads one checksum, or a list of which all must hold.
pub(super) fn digests<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<Digest> {
    let Some(value) = section.get("checksum") else {
        return Vec::new();
    };
    let texts = match value.get_ref().as_array() {
        Some(_) => reader.texts(section, "checksum"),
        None => reader.text(section, "checksum").into_iter().collect(),
    };
    if value.get_ref().as_array().is_some_and(|array| array.is_empty()) {
        reader.report(value.span(), "the list of checksums is empty", PIN);
    }
    texts.iter().filter_map(|text| digest(reader, text)).collect()
}

/// Reads one checksum.
fn digest(reader: &mut Reader<'_>, text: &Text) -> Option<Digest> {
    if matches!(text.full.to_ascii_lowercase().as_str(), "" | "skip" | "none" | "fixme" | "todo") {
        reader.report(text.span.clone(), format!("{} is no checksum", quote(&text.full)), PIN);
        return None;
    }
    let digest: Digest = reader.parse_text(text)?;
    if digest.as_bytes().iter().all(|byte| *byte == 0) {
        reader.report(
            text.span.clone(),
            "the checksum is all zeros: a place was kept and never filled",
            PIN.to_owned(),
        );
    }
    Some(digest)
}

/// Reads a full commit, in lower case.
pub(super) fn commit<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<String> {
    let hint = "run `conary source pin RECIPE`, which looks it up, or `git ls-remote URL TAG` and write all 40 hexadecimal \
                digits; `tag` may say which tag it is";
    if !section.has("commit") {
        let message = "`git` has no `commit`: branches and tags can move".to_owned();
        reader.missing(section.key_span("git"), message, hint);
    }
    let text = reader.text(section, "commit")?;
    let full = matches!(text.full.len(), 40 | 64) && text.full.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !full {
        reader.report(text.span.clone(), format!("{} is not a full commit", quote(&text.full)), hint);
        return None;
    }
    Some(text.full.to_ascii_lowercase())
}

/// Reads the name of a tag.
pub(super) fn tag<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<String> {
    let text = reader.text(section, "tag")?;
    let bad =
        |character: char| character.is_control() || matches!(character, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    if text.full.is_empty() || text.full.starts_with(['-', '/']) || text.full.contains("..") || text.full.contains(bad)
    {
        let hint = "write the tag alone, like `v1.2`".to_owned();
        reader.report(text.span, format!("{} cannot be a tag", quote(&text.full)), hint);
        return None;
    }
    Some(text.carried)
}

/// Reads a signature and the keys that may have made it.
pub(super) fn signature<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Signature> {
    if section.has("signature") && !section.has("keys") {
        let message = "`signature` has no `keys`: anyone could have made it".to_owned();
        let hint = "add `keys = [\"upstream.asc\"]` with the public key in a file beside the recipe, or leave both out";
        reader.missing(section.key_span("signature"), message, hint);
    }
    if !section.has("signature") {
        reader.misplaced(
            section,
            &["keys"],
            "has no `signature` that it could have made",
            "add `signature`, or leave it out",
        );
        return None;
    }
    let location = reader.text(section, "signature");
    let location =
        location.filter(|text| is_file(reader, text) && (is_url(&text.full) || stays_inside(reader, text, BESIDE)));
    let keys = keys(reader, section);
    Some(Signature { location: location?.carried, keys })
}

/// Reads what vouches for a commit beside its name.
pub(super) fn git_proof<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> GitProof {
    GitProof { archive: digests(reader, section), keys: keys(reader, section) }
}

/// Reads a list of public keys, of which none may be missing where the list is there.
fn keys<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<String> {
    let texts = reader.texts(section, "keys");
    if section.get("keys").is_some_and(|keys| keys.get_ref().as_array().is_some_and(|array| array.is_empty())) {
        reader.report(section.key_span("keys"), "the list of keys is empty", "name at least one public key");
    }
    texts.into_iter().filter(|text| is_key(reader, text)).map(|text| text.carried).collect()
}

/// Where files of the recipe's own lie.
const BESIDE: &str = "the recipe's directory";

/// Lengths of an `OpenPGP` fingerprint or key id in hexadecimal digits.
const FINGERPRINTS: [usize; 3] = [16, 40, 64];

/// Reports what is neither a public key nor the path of a file with one.
fn is_key(reader: &mut Reader<'_>, text: &Text) -> bool {
    let key = text.full.trim();
    if key.starts_with("ssh-")
        || key.starts_with("RW")
        || key.starts_with("untrusted comment:")
        || key.starts_with("-----BEGIN ")
    {
        return true;
    }
    let hex = key.strip_prefix("0x").unwrap_or(key);
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && FINGERPRINTS.contains(&hex.len()) {
        let hint = "export the key into a file beside the recipe: `gpg --armor --export FINGERPRINT > upstream.asc`"
            .to_owned();
        reader.report(text.span.clone(), format!("{} names a key, but is none", quote(key)), hint);
        return false;
    }
    stays_inside(reader, text, BESIDE)
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;

    #[test]
    fn bytes_from_elsewhere_must_be_pinned() {
        let archive = "[source]\narchive = 'a.tar'\nchecksum = ";
        let lines = |checksum: &str| format!("{archive}{checksum}\n");
        let cases = [
            ("'md5:d41d8cd98f00b204e9800998ecf8427e'", "6:12", "md5 cannot prove", "conary source pin"),
            ("'sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709'", "6:12", "sha1 cannot prove", "conary source pin"),
            ("'SKIP'", "6:12", "`SKIP` is no checksum", "conary source pin"),
            ("''", "6:12", "`` is no checksum", "conary source pin"),
            ("[]", "6:12", "the list of checksums is empty", "conary source pin"),
            ("['SHA256', 'sha256:1']", "6:88", "has 64 hexadecimal digits, this one 1", "copy the whole digest"),
            (
                "'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
                "6:12",
                "the algorithm is missing",
                "`sha256:` before it",
            ),
            ("'crc32:00'", "6:12", "unknown digest algorithm `crc32`", "blake3:"),
            (
                "'sha256:0000000000000000000000000000000000000000000000000000000000000000'",
                "6:12",
                "all zeros",
                "conary source pin",
            ),
            ("3", "6:12", "`source.checksum` must be text", "quotes"),
        ];
        for (checksum, place, message, hint) in cases {
            check(&[(&lines(checksum), place, message, hint)]);
        }
        check(&[
            ("[source]\narchive = 'a.tar'\n", "5:1", "`archive` has no `checksum`", "conary source pin"),
            ("[[source.additional]]\nurl = 'a.tar'\n", "5:1", "`url` has no `checksum`", "conary source pin"),
        ]);
    }

    #[test]
    fn a_commit_must_be_whole() {
        let hint = "git ls-remote";
        check(&[
            ("[source]\ngit = 'https://e.example/x'\n", "5:1", "`git` has no `commit`", hint),
            ("[source]\ngit = 'https://e.example/x'\ntag = 'v1'\n", "5:1", "`git` has no `commit`", hint),
            (
                "[source]\ngit = 'https://e.example/x'\ncommit = '0123456'\n",
                "6:10",
                "`0123456` is not a full commit",
                hint,
            ),
            ("[source]\ngit = 'https://e.example/x'\ncommit = 'main'\n", "6:10", "`main` is not a full commit", hint),
        ]);
        let git = "[source]\ngit = 'https://e.example/x'\ncommit = '0123456789abcdef0123456789abcdef01234567'\ntag = ";
        for tag in ["''", "'-x'", "'a b'", "'a..b'", "'v1^{}'"] {
            check(&[(&format!("{git}{tag}\n"), "7:7", "cannot be a tag", "like `v1.2`")]);
        }
    }

    #[test]
    fn a_signature_needs_keys_that_are_keys() {
        let archive = "[source]\narchive = 'a.tar'\nchecksum = 'SHA256'\n";
        let cases = [
            ("signature = 'a.tar.asc'\n", "7:1", "`signature` has no `keys`", "keys = [\"upstream.asc\"]"),
            ("keys = ['a.asc']\n", "7:1", "`keys` has no `signature`", "add `signature`"),
            ("signature = 'a.tar.asc'\nkeys = []\n", "8:1", "the list of keys is empty", "at least one"),
            ("signature = '../a.tar.asc'\nkeys = ['a']\n", "7:13", "contains `..`", "stays inside"),
            ("signature = 'a.tar.asc'\nkeys = ['/etc/a']\n", "8:9", "starts at the root", "stays inside"),
            (
                "signature = 'a.tar.asc'\nkeys = ['0x6C7EE1B8621CC013']\n",
                "8:9",
                "names a key, but is none",
                "gpg --armor --export",
            ),
        ];
        for (lines, place, message, hint) in cases {
            check(&[(&format!("{archive}{lines}"), place, message, hint)]);
        }
    }
}
