// converters/src/srcinfo/origin.rs
//! What one entry of `source` says: where the source comes from, and what makepkg calls it.

/// Ends of the names of detached signatures.
pub(super) const SIGNATURES: [&str; 4] = [".sig", ".asc", ".sign", ".minisig"];

/// Ends of the names of archives.
pub(super) const ARCHIVES: [&str; 14] = [
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.bz2",
    ".tbz2",
    ".tbz",
    ".tar.xz",
    ".txz",
    ".tar.zst",
    ".tzst",
    ".tar.lz",
    ".tar.lzma",
    ".tar.Z",
    ".zip",
];

/// Where a source comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin<'t> {
    File {
        url: &'t str,
    },
    Git {
        url: &'t str,
        /// A full one.
        commit: Option<&'t str>,
        /// What stands behind `#`, without a query.
        fragment: &'t str,
        /// Whether its tag or commit must be signed.
        signed: bool,
    },
    Foreign {
        url: &'t str,
    },
}

impl<'t> Origin<'t> {
    pub(super) fn url(&self) -> &'t str {
        match self {
            Self::File { url } | Self::Git { url, .. } | Self::Foreign { url } => url,
        }
    }

    /// What makepkg calls it, where no name stands before it.
    pub(super) fn called(&self) -> &'t str {
        match self {
            Self::File { url } => url.rsplit('/').next().unwrap_or(url),
            Self::Git { url, .. } => {
                let name = url.trim_end_matches('/').rsplit('/').next().unwrap_or(url);
                name.split(".git").next().unwrap_or(name)
            }
            Self::Foreign { url } => {
                let url = url.split(['#', '?']).next().unwrap_or(url);
                url.trim_end_matches('/').rsplit('/').next().unwrap_or(url)
            }
        }
    }

    /// What a recipe calls it without a `name`.
    pub(super) fn laid_out_as(&self) -> &'t str {
        match self {
            Self::File { url } if url.contains("://") => {
                let path = url.split(['?', '#']).next().unwrap_or(url);
                path.rsplit('/').next().unwrap_or(path)
            }
            Self::File { url } | Self::Foreign { url } => url.rsplit('/').next().unwrap_or(url),
            Self::Git { url, .. } => {
                let name = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or(url);
                name.strip_suffix(".git").filter(|stem| !stem.is_empty()).unwrap_or(name)
            }
        }
    }
}

/// Reads `[name::][vcs+]url[#fragment][?query]`.
pub(super) fn origin(value: &str) -> (Option<&str>, Origin<'_>) {
    let (saved_as, url) = match value.split_once("::") {
        Some((name, url)) => (Some(name), url),
        None => (None, value),
    };
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let vcs = scheme.split_once('+').map_or(scheme, |(vcs, _)| vcs);
    match vcs {
        "git" => {
            let url = url.strip_prefix("git+").unwrap_or(url);
            let signed = url.split(['?', '#']).skip(1).any(|part| part == "signed");
            let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
            let (fragment, _) = fragment.split_once('?').unwrap_or((fragment, ""));
            let (url, _) = url.split_once('?').unwrap_or((url, ""));
            let is_commit =
                |text: &&str| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let commit = fragment.split_once('=').map(|(_, name)| name).filter(is_commit);
            (saved_as, Origin::Git { url, commit, fragment, signed })
        }
        "" if url.contains("lp:") => (saved_as, Origin::Foreign { url }),
        "" | "http" | "https" | "ftp" | "file" => (saved_as, Origin::File { url }),
        _ => (saved_as, Origin::Foreign { url }),
    }
}

/// Whether a name ends with one of several ends, with something before it.
pub(super) fn ends_with_any(name: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| name.len() > end.len() && name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_called_as_makepkg_calls_them() {
        let cases = [
            ("a.tar.gz", "a.tar.gz", "a.tar.gz"),
            ("https://e.example/a.tar?x=1", "a.tar?x=1", "a.tar"),
            ("https://e.example/get/7#/a.tar", "a.tar", "7"),
            ("b::https://e.example/a.tar", "b", "a.tar"),
            ("git+https://e.example/a.git#tag=v1", "a", "a"),
            ("git+https://e.example/a.github.io?signed#tag=v1", "a", "a.github.io"),
            ("git://e.example/a/", "a", "a"),
            ("b::git+file:///srv/a", "b", "a"),
            ("hg+https://e.example/a#tag=1", "a", "a#tag=1"),
        ];
        for (value, called, laid_out_as) in cases {
            let (saved_as, origin) = origin(value);
            assert_eq!(saved_as.unwrap_or_else(|| origin.called()), called, "{value}");
            assert_eq!(origin.laid_out_as(), laid_out_as, "{value}");
        }
        let of = |value| match origin(value).1 {
            Origin::Git { commit, fragment, signed, .. } => (commit, fragment, signed),
            other => panic!("{other:?}"),
        };
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let pinned = format!("git+https://e.example/a#commit={commit}");
        assert_eq!(of(&pinned).0, Some(commit));
        assert_eq!(of("git+https://e.example/a?signed#tag=v1"), (None, "tag=v1", true));
        assert_eq!(of("git+https://e.example/a#tag=v1?signed"), (None, "tag=v1", true));
        assert!(matches!(origin("bzr+lp:a").1, Origin::Foreign { .. }));
    }
}
