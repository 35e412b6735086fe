// converters/src/srcinfo/moments/declared.rs
//! What several functions of one file declare together, as `[hooks]`.

use recipes::{HookDirectory, HookGroup, HookUser};

use super::super::writer::{Writer, quoted};
use super::Act;

/// Everything that was understood of one file.
#[derive(Debug, Clone, Default)]
pub(in crate::srcinfo) struct Declared {
    users: Vec<HookUser>,
    groups: Vec<HookGroup>,
    directories: Vec<HookDirectory>,
    services: Vec<String>,
    /// What a function prints, by its name.
    pub says: Vec<(String, String)>,
    /// Commands that are not carried out, and why.
    pub idle: Vec<(String, &'static str)>,
}

impl Declared {
    /// Takes in what one function does.
    ///
    /// # Errors
    /// Why it does not go together with what the others do, or with the package.
    pub fn take(&mut self, function: &str, acts: Vec<Act>, has_unit: &dyn Fn(&str) -> bool) -> Result<(), String> {
        let mut next = self.clone();
        for act in acts {
            next.one(function, act, has_unit)?;
        }
        *self = next;
        Ok(())
    }

    fn one(&mut self, function: &str, act: Act, has_unit: &dyn Fn(&str) -> bool) -> Result<(), String> {
        match act {
            Act::Covered => {}
            Act::Says(text) => self.says.push((function.to_owned(), text)),
            Act::Idle { command, why } => {
                if !self.idle.iter().any(|(known, _)| *known == command) {
                    self.idle.push((command, why));
                }
            }
            Act::Group(group) => match self.groups.iter().find(|known| known.name == group.name) {
                Some(known) if *known != group => return Err(format!("the group {} is made in two ways", group.name)),
                Some(_) => {}
                None => self.groups.push(group),
            },
            Act::User(user) => match self.users.iter().find(|known| known.name == user.name) {
                Some(known) if !is_same(known, &user) => {
                    return Err(format!("the user {} is made in two ways", user.name));
                }
                Some(_) => {}
                None => self.users.push(user),
            },
            Act::Member { user, groups } => {
                let Some(known) = self.users.iter_mut().find(|known| known.name == user) else {
                    return Err(format!("it changes the user {user}, which it does not make"));
                };
                known.groups.extend(groups);
                known.groups.sort();
                known.groups.dedup();
            }
            Act::Gone { name } => {
                let is_made = self.users.iter().any(|user| user.name == name)
                    || self.groups.iter().any(|group| group.name == name);
                if !is_made {
                    return Err(format!("it removes the account {name}, which no other function makes"));
                }
            }
            Act::Directory(directory) => {
                let known = self.directories.iter().find(|known| known.path == directory.path);
                match known {
                    Some(known) if *known != directory => {
                        return Err(format!("the directory {} is made in two ways", directory.path));
                    }
                    Some(_) => {}
                    None => self.directories.push(directory),
                }
            }
            Act::Service(unit) => {
                if !has_unit(&unit) {
                    return Err(format!("it enables {unit}, whose unit does not lie beside the PKGBUILD"));
                }
                if !self.services.contains(&unit) {
                    self.services.push(unit);
                }
            }
            Act::Disabled(unit) => {
                if !self.services.contains(&unit) {
                    return Err(format!("it disables {unit}, which no other function enables"));
                }
            }
        }
        Ok(())
    }

    /// Whether there is something to write under `[hooks]`.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty() && self.directories.is_empty() && self.services.is_empty()
    }

    /// Writes the keys of `[hooks]`.
    pub fn write(&self, out: &mut Writer) {
        out.list("services", &self.services);
        tables(out, "groups", &self.groups, |group| {
            let mut keys = vec![("name", quoted(&group.name))];
            keys.extend(group.id.map(|id| ("id", id.to_string())));
            keys
        });
        tables(out, "users", &self.users, |user| {
            let mut keys = vec![("name", quoted(&user.name))];
            keys.extend(user.id.map(|id| ("id", id.to_string())));
            keys.extend(user.group.as_ref().map(|group| ("group", quoted(group))));
            if !user.groups.is_empty() {
                let groups: Vec<String> = user.groups.iter().map(|group| quoted(group)).collect();
                keys.push(("groups", format!("[{}]", groups.join(", "))));
            }
            keys.extend(user.home.as_ref().map(|home| ("home", quoted(home))));
            keys.extend(user.shell.as_ref().map(|shell| ("shell", quoted(shell))));
            keys.extend(user.comment.as_ref().map(|comment| ("comment", quoted(comment))));
            keys
        });
        tables(out, "directories", &self.directories, |directory| {
            vec![
                ("path", quoted(&directory.path)),
                ("mode", format!("\"{:04o}\"", directory.mode)),
                ("owner", quoted(&directory.owner)),
                ("group", quoted(&directory.group)),
            ]
        });
    }
}

/// Whether two users are the same, but for groups that were added to one.
fn is_same(known: &HookUser, other: &HookUser) -> bool {
    let groups = other.groups.iter().all(|group| known.groups.contains(group));
    groups && HookUser { groups: other.groups.clone(), ..known.clone() } == *other
}

/// Writes a list of tables, one on a line.
fn tables<T>(out: &mut Writer, key: &str, all: &[T], keys: impl Fn(&T) -> Vec<(&'static str, String)>) {
    let lines: Vec<String> = all
        .iter()
        .map(|one| {
            let keys: Vec<String> = keys(one).into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
            format!("{{ {} }}", keys.join(", "))
        })
        .collect();
    match &lines[..] {
        [] => {}
        [one] => out.raw(key, &format!("[{one}]")),
        several => {
            out.line(&format!("{key} = ["));
            for line in several {
                out.line(&format!("    {line},"));
            }
            out.line("]");
        }
    }
}
