// kitchen/src/fetch/place.rs
//! Where a text in a recipe points to, and which further places that gives.

use std::path::{Path, PathBuf};

use store::MirrorRow;

use super::error::FetchError;
use super::http::redact;

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// On this machine.
    Local(PathBuf),
    /// Behind HTTP or HTTPS.
    Web(String),
    /// Somewhere that only a mirror can stand for.
    Other(String),
}

impl Place {
    /// Reads a URL or a path; a relative path starts at the recipe's `directory`.
    pub(super) fn of(text: &str, directory: &Path) -> Result<Self, FetchError> {
        let scheme = |reason| FetchError::Scheme { url: redact(text), reason };
        if let Some(rest) = text.strip_prefix("file:") {
            let path = match rest.strip_prefix("//") {
                Some(rest) => {
                    let (host, _) = rest.split_once('/').ok_or_else(|| scheme("it has no path"))?;
                    if !matches!(host, "" | "localhost") {
                        return Err(scheme("its file is on another host"));
                    }
                    &rest[host.len()..]
                }
                None => rest,
            };
            let path = decode_percent(path).ok_or_else(|| scheme("its path is wrongly encoded"))?;
            return Ok(Self::Local(directory.join(path)));
        }
        Ok(match text.split_once("://") {
            Some(("http" | "https", _)) => Self::Web(text.to_owned()),
            Some(_) => Self::Other(text.to_owned()),
            None => Self::Local(directory.join(text)),
        })
    }
}

/// Every place to try for `url`, in order: configured mirrors, the place itself, the recipe's own mirrors.
///
/// A configured mirror replaces the beginning of the URL; one of the recipe's is a prefix for the file's name.
pub(super) fn candidates(url: &str, file_name: &str, mirrors: &[String], configured: &[MirrorRow]) -> Vec<String> {
    let configured = configured.iter().filter_map(|MirrorRow { prefix, url: mirror }| {
        url.strip_prefix(prefix.as_str()).map(|rest| format!("{mirror}{rest}"))
    });
    let own = mirrors.iter().map(|mirror| format!("{}/{file_name}", mirror.trim_end_matches('/')));
    let mut places: Vec<String> = Vec::new();
    for place in configured.chain([url.to_owned()]).chain(own) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// Undoes `%20` and the like; `None` where a `%` has no two digits behind it or the result is not a path.
pub(super) fn decode_percent(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        if *byte == b'%' {
            let hex = std::str::from_utf8(after.get(..2)?)
                .ok()
                .filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok().filter(|path| !path.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let directory = Path::new("/recipes/hello");
        let table = [
            ("hello.tar", Place::Local("/recipes/hello/hello.tar".into())),
            ("/abs/hello.tar", Place::Local("/abs/hello.tar".into())),
            ("file:///abs/a%20b.tar", Place::Local("/abs/a b.tar".into())),
            ("file://localhost/abs", Place::Local("/abs".into())),
            ("file:near.tar", Place::Local("/recipes/hello/near.tar".into())),
            ("https://example.org/a", Place::Web("https://example.org/a".to_owned())),
            ("ftp://example.org/a", Place::Other("ftp://example.org/a".to_owned())),
        ];
        for (text, place) in table {
            assert_eq!(Place::of(text, directory).unwrap(), place, "{text}");
        }
        for bad in ["file://elsewhere/a", "file:///a%2", "file:///a%zz", "file:///a%00b", "file://"] {
            assert!(Place::of(bad, directory).is_err(), "{bad}");
        }
    }

    #[test]
    fn configured_mirrors_come_first_and_the_recipes_last() {
        let configured =
            [("https://ftp.gnu.org/gnu/", "http://near/gnu/"), ("https://other.org/", "http://near/other/")]
                .map(|(prefix, url)| MirrorRow { prefix: prefix.to_owned(), url: url.to_owned() });
        let own = ["https://mirror.example/pub/".to_owned(), "https://ftp.gnu.org/gnu/hello".to_owned()];
        let found = candidates("https://ftp.gnu.org/gnu/hello/hello-1.tar", "hello-1.tar", &own, &configured);
        assert_eq!(
            found,
            [
                "http://near/gnu/hello/hello-1.tar",
                "https://ftp.gnu.org/gnu/hello/hello-1.tar",
                "https://mirror.example/pub/hello-1.tar"
            ]
        );
    }
}
