// kitchen/src/sysusers.rs
//! Accounts that a package declares in `usr/lib/sysusers.d`, as systemd reads them.
//!
//! Such a file says the same as `[hooks]`, so a root gets the accounts from both in the same way, and files may belong to them. A file with
//! something else than users, groups, members and ranges, or with specifiers, is left to `systemd-sysusers`, which runs when the system starts.

use recipes::{HookGroup, HookUser, Hooks, is_account_field, is_account_name, is_plain_path};
use store::{Batch, Node, StoreError, Tree};

/// Where the files are.
const DIRECTORY: &[u8] = b"usr/lib/sysusers.d/";
/// The longest that is read.
const LARGEST_BYTES: u64 = 1 << 16;

/// Adds to `hooks` what the files of a package declare; what the recipe says of an account counts more.
pub fn add(hooks: &mut Hooks, tree: &Tree, batch: &Batch<'_>) -> Result<(), StoreError> {
    for entry in tree.entries() {
        let Node::File { object, size } = &entry.node else { continue };
        let is_one = entry.path.starts_with(DIRECTORY) && entry.path.ends_with(b".conf") && *size <= LARGEST_BYTES;
        if !is_one {
            continue;
        }
        let text = String::from_utf8_lossy(&batch.read(object)?).into_owned();
        if let Some((users, groups)) = read(&text) {
            for user in users {
                match hooks.users.iter_mut().find(|known| known.name == user.name) {
                    Some(known) => {
                        known.groups.extend(user.groups);
                        known.groups.sort();
                        known.groups.dedup();
                    }
                    None => hooks.users.push(user),
                }
            }
            for group in groups {
                if !hooks.groups.iter().any(|known| known.name == group.name) {
                    hooks.groups.push(group);
                }
            }
        }
    }
    Ok(())
}

/// Reads one file; nothing if it says something that `[hooks]` cannot.
fn read(text: &str) -> Option<(Vec<HookUser>, Vec<HookGroup>)> {
    let (mut users, mut groups) = (Vec::<HookUser>::new(), Vec::<HookGroup>::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words = words(line)?;
        let word = |at: usize| words.get(at).map(String::as_str).filter(|word| !word.is_empty() && *word != "-");
        let name = word(1).filter(|name| is_account_name(name));
        match words.first()?.as_str() {
            "r" => {}
            "g" if words.len() <= 3 => groups.push(HookGroup { name: name?.to_owned(), id: id(word(2))? }),
            "m" if words.len() <= 3 => {
                let group = word(2).filter(|group| is_account_name(group))?.to_owned();
                // A user of another file is that file's to declare.
                users.iter_mut().find(|user| Some(user.name.as_str()) == name)?.groups.push(group);
            }
            "u" | "u!" if words.len() <= 6 => {
                let (own, group) = match word(2).and_then(|both| both.split_once(':')) {
                    Some((own, group)) => (id(Some(own))?, Some(group)),
                    None => (id(word(2))?, None),
                };
                let group = match group {
                    Some(group) if is_account_name(group) => Some(group.to_owned()),
                    Some(number) => {
                        groups.push(HookGroup { name: name?.to_owned(), id: id(Some(number))? });
                        None
                    }
                    None => None,
                };
                let field = |at: usize, sound: &dyn Fn(&str) -> bool| match word(at) {
                    None => Some(None),
                    Some(text) if sound(text) && !text.contains('%') => Some(Some(text.to_owned())),
                    Some(_) => None,
                };
                let user = HookUser {
                    id: own,
                    group,
                    comment: field(3, &is_account_field)?,
                    home: field(4, &|path| path == "/" || is_plain_path(path))?,
                    shell: field(5, &is_plain_path)?,
                    ..plain(name?)
                };
                match users.iter_mut().find(|known| known.name == user.name) {
                    Some(known) => *known = HookUser { groups: std::mem::take(&mut known.groups), ..user },
                    None => users.push(user),
                }
            }
            _ => return None,
        }
    }
    Some((users, groups))
}

/// A number where one is given; the outer nothing if what is given is no number.
#[allow(clippy::option_option, reason = "not given and not understood are two things")]
fn id(text: Option<&str>) -> Option<Option<u32>> {
    match text {
        None | Some("-") => Some(None),
        // The owner of a file, which is looked at when the account is made.
        Some(path) if path.starts_with('/') => Some(None),
        Some(number) => number.parse().ok().filter(|id| recipes::ACCOUNT_IDS.contains(&u64::from(*id))).map(Some),
    }
}

fn plain(name: &str) -> HookUser {
    HookUser {
        name: name.to_owned(),
        id: None,
        group: None,
        groups: Vec::new(),
        home: None,
        shell: None,
        comment: None,
    }
}

/// Splits a line as systemd does, plainly: blanks between words, and quotes around some.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '"' | '\'' => rest[1..].split_once(first)?,
            _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        if word.contains('\\') || (first != '"' && first != '\'' && word.contains(['"', '\''])) {
            return None;
        }
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_systemd_are_declarations() {
        let text = "# accounts\nu svc 77 \"The service\" /var/lib/svc /bin/sh\nu plain\nu! locked - - -\nu with 5:video\nu other 6:7\n\
                    g shared 88\ng free -\nm svc shared\nr - 500-900\n";
        let (users, groups) = read(text).unwrap();
        let shown: Vec<String> = users
            .iter()
            .map(|user| {
                format!(
                    "{} {:?} {:?} {:?} {:?} {:?}",
                    user.name, user.id, user.group, user.groups, user.home, user.shell
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "svc Some(77) None [\"shared\"] Some(\"/var/lib/svc\") Some(\"/bin/sh\")",
                "plain None None [] None None",
                "locked None None [] None None",
                "with Some(5) Some(\"video\") [] None None",
                "other Some(6) None [] None None",
            ]
        );
        let shown: Vec<(&str, Option<u32>)> = groups.iter().map(|group| (group.name.as_str(), group.id)).collect();
        assert_eq!(shown, [("other", Some(7)), ("shared", Some(88)), ("free", None)]);
        for other in
            ["u a - \"%m\"\n", "u 1a\n", "x a\n", "u a 0\n", "u a b\n", "u a - \"b\n", "m b shared\n", "g a 1 c d\n"]
        {
            assert!(read(other).is_none(), "{other}");
        }
    }
}
