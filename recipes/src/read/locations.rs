// recipes/src/read/locations.rs
//! URLs, paths beside the recipe and paths below the source.
//!
//! These texts come to name files on the machine that cooks, so they are judged here, once: a path that should
//! stay below a directory has no `..` and does not start at the root, and a URL ends with a name that is fit
//! to be a file's. (Whoever opens them still does so beneath an open directory; this is for the message.)

use crate::reader::{Reader, Section, Text};
use crate::recipe::file_name;
use crate::text::{first_outside, quote};

/// The longest name that file systems take.
const FILE_NAME_BYTES: usize = 255;

/// Ways by which files are fetched.
const FILE_SCHEMES: [&str; 4] = ["https", "http", "ftp", "file"];

/// Ways by which repositories are fetched.
const GIT_SCHEMES: [&str; 5] = ["https", "http", "git", "ssh", "file"];

/// Reads a path that must stay below where it starts; `what` names that place.
pub(super) fn inner_path<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str, what: &str) -> Option<String> {
    let text = reader.text(section, key)?;
    stays_inside(reader, &text, what).then_some(text.carried)
}

/// Reports a path that does not stay below where it starts.
pub(super) fn stays_inside(reader: &mut Reader<'_>, text: &Text, what: &str) -> bool {
    let path = &text.full;
    let problem = if path.is_empty() {
        "is empty"
    } else if path.starts_with('/') {
        "starts at the root"
    } else if path.split('/').any(|part| part == "..") {
        "contains `..`"
    } else if first_outside(path, |character| !character.is_control()).is_some() {
        "contains control characters"
    } else {
        return true;
    };
    let hint = format!("write a path that stays inside {what}, like `one/two`");
    reader.report(text.span.clone(), format!("the path {} {problem}", quote(path)), hint);
    false
}

/// Reads the URL or path of a file.
pub(super) fn file<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str) -> Option<String> {
    let text = reader.text(section, key)?;
    is_file(reader, &text).then_some(text.carried)
}

/// Reports a text that is neither the URL nor the path of a file.
pub(super) fn is_file(reader: &mut Reader<'_>, text: &Text) -> bool {
    if !is_location(reader, text, &FILE_SCHEMES) {
        return false;
    }
    let name = file_name(&text.full);
    if matches!(name, "" | "." | "..") || name.len() > FILE_NAME_BYTES {
        let hint = "a URL must end with the name of the file".to_owned();
        reader.report(text.span.clone(), format!("{} does not end with a file's name", quote(&text.full)), hint);
        return false;
    }
    true
}

/// Whether a text is a URL, and not a path.
pub(super) fn is_url(text: &str) -> bool {
    text.contains("://") || text.starts_with("file:")
}

/// Reads a list of URL prefixes.
pub(super) fn mirrors<'t>(reader: &mut Reader<'t>, section: &Section<'t>, for_git: bool) -> Vec<String> {
    let schemes: &[&str] = if for_git { &GIT_SCHEMES } else { &FILE_SCHEMES };
    let texts = reader.texts(section, "mirrors");
    texts.into_iter().filter(|text| is_location(reader, text, schemes)).map(|text| text.carried).collect()
}

/// Reads the URL or path of a git repository.
pub(super) fn repository<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<String> {
    let text = reader.text(section, "git")?;
    is_location(reader, &text, &GIT_SCHEMES).then_some(text.carried)
}

/// Reports a text that is neither a URL with one of the schemes nor a path.
fn is_location(reader: &mut Reader<'_>, text: &Text, schemes: &[&str]) -> bool {
    let location = &text.full;
    let fault = |reader: &mut Reader<'_>, problem: &str, hint: &str| {
        reader.report(text.span.clone(), format!("{} {problem}", quote(location)), hint);
        false
    };
    if location.is_empty() {
        return fault(reader, "is empty", "write a URL or a path");
    }
    if first_outside(location, |character| !character.is_control()).is_some() {
        return fault(reader, "contains control characters", "write a URL or a path on one line");
    }
    if location.starts_with('-') {
        return fault(reader, "looks like an option", "write `./` before a path that starts with `-`");
    }
    if let Some((name, _)) = location.split_once("::") {
        let hint = if name.chars().all(char::is_alphanumeric) {
            "write the URL alone"
        } else {
            "write the URL alone, without a name before it"
        };
        return fault(reader, "contains `::`", hint);
    }
    let Some((scheme, rest)) = location.split_once("://") else {
        return true;
    };
    if !schemes.contains(&scheme) {
        let hint = match scheme.strip_prefix("git+") {
            Some(_) => "write a repository as `git = \"…\"` with its `commit`".to_owned(),
            None => format!("known here: {}", schemes.join(", ")),
        };
        return fault(reader, "begins with an unknown scheme", &hint);
    }
    if location.contains(' ') {
        return fault(reader, "contains a space", "write `%20` for a space in a URL");
    }
    if scheme != "file" && (rest.starts_with(['/', '-', '?', '#']) || rest.is_empty()) {
        return fault(reader, "names no host", "write it like `https://example.org/file.tar.gz`");
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;

    #[test]
    fn urls_that_name_no_file_are_refused() {
        let cases = [
            ("", "is empty"),
            ("https://e.example", "does not end with a file's name"),
            ("https://e.example/a/..", "does not end with a file's name"),
            ("https://e.example/?file=/x.tar", "does not end with a file's name"),
            ("https://", "names no host"),
            ("https:///x.tar", "names no host"),
            ("https://-oProxyCommand=x/x.tar", "names no host"),
            ("gopher://e.example/x.tar", "begins with an unknown scheme"),
            ("git+https://e.example/x", "begins with an unknown scheme"),
            ("x.tar::https://e.example/y.tar", "contains `::`"),
            ("-x.tar", "looks like an option"),
            ("https://e.example/a b.tar", "contains a space"),
            ("a\\nb.tar", "contains control characters"),
        ];
        for (url, message) in cases {
            let body = format!("[source]\narchive = \"{url}\"\nchecksum = 'SHA256'\n");
            check(&[(&body, "5:11", message, "")]);
        }
        let long = format!("[source]\narchive = 'https://e.example/{}'\nchecksum = 'SHA256'\n", "x".repeat(256));
        check(&[(&long, "5:11", "does not end with a file's name", "")]);
    }

    #[test]
    fn repositories_that_run_commands_are_refused() {
        let commit = "commit = '0123456789abcdef0123456789abcdef01234567'";
        let cases = ["ext::sh -c x", "--upload-pack=x", "svn://e.example/x", "ssh://-oProxyCommand=x/y", ""];
        for url in cases {
            check(&[(&format!("[source]\ngit = '{url}'\n{commit}\n"), "5:7", "", "")]);
        }
        let mirror = format!("[source]\ngit = 'https://e.example/x'\n{commit}\nmirrors = ['ext::x']\n");
        check(&[(&mirror, "7:12", "contains `::`", "")]);
    }

    #[test]
    fn paths_stay_where_they_belong() {
        for path in ["..", "../x", "a/../b", "/", "/etc", "", "a\\u0000b"] {
            check(&[
                (&format!("[source]\npath = \"{path}\"\n"), "5:8", "the path", "stays inside the recipe's directory"),
                (&format!("[build]\nworkdir = \"{path}\"\n"), "5:11", "the path", "stays inside the source"),
                (
                    &format!("[source]\narchive = 'a'\nchecksum = 'SHA256'\nextract_dir = \"{path}\"\n"),
                    "7:15",
                    "the path",
                    "stays inside the unpacked archive",
                ),
            ]);
        }
    }
}
