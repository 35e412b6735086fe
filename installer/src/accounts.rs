// installer/src/accounts.rs
//! Users and groups that hooks declare, as lines of a root's account files.
//!
//! Pure text: what the files hold, what is recorded as ours and what is wanted go in; what the files become and what is ours then comes out.
//! The plan asks with what lies on the disk; the commit asks again where a package brings one of the files, because only then its
//! content is at hand. Rules: docs/design/transaction.md, "Hooks".

use std::collections::{BTreeMap, BTreeSet};

use recipes::HookUser;
use store::root_db::{HookKind, HookRow};

use crate::event::Warning;

/// The files, by their places below.
pub(crate) const FILES: [&[u8]; 4] = [b"etc/passwd", b"etc/group", b"etc/shadow", b"etc/gshadow"];
const PASSWD: usize = 0;
const GROUP: usize = 1;
const SHADOW: usize = 2;
const GSHADOW: usize = 3;

/// Lines of which file each kind of row is.
const KINDS: [HookKind; 4] = [HookKind::User, HookKind::Group, HookKind::Shadow, HookKind::Gshadow];

/// Numbers that are given out, the highest first.
const FREE_IDS: std::ops::RangeInclusive<u32> = 100..=999;
/// Lets nobody in.
const NO_SHELL: &str = "/usr/sbin/nologin";

/// What the account files are made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Accounts {
    /// What each file holds, before; none where it is not there.
    pub texts: [Option<Vec<u8>>; 4],
    /// Files that a package brings: lines of ours are missing in them because they are new, not because somebody took them out.
    pub fresh: [bool; 4],
    /// What hooks made before.
    pub recorded: Vec<HookRow>,
    /// Users by name.
    pub users: BTreeMap<String, HookUser>,
    /// Groups by name, with the number that each should have.
    pub groups: BTreeMap<String, Option<u32>>,
    /// Accounts that stay although nobody wants them.
    pub kept: BTreeSet<String>,
}

/// What the account files become.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    pub texts: [Option<Vec<u8>>; 4],
    /// What is ours then.
    pub rows: Vec<HookRow>,
    pub warnings: Vec<Warning>,
}

impl Accounts {
    /// Works it out.
    pub fn outcome(&self) -> Outcome {
        let mut work = Work {
            input: self,
            files: self.texts.clone().map(|text| text.map(|text| lines(&text))),
            rows: self.recorded.iter().map(|row| ((row.kind, row.key.clone()), row.value.clone())).collect(),
            warnings: Vec::new(),
        };
        work.take_out();
        for (name, id) in &self.groups {
            work.group(name, *id);
        }
        for user in self.users.values() {
            work.user(user);
        }
        for user in self.users.values() {
            for group in &user.groups {
                work.member(group, &user.name);
            }
        }
        work.finish()
    }
}

/// Returns what an account file holds beside the lines and names that are recorded as ours.
pub(crate) fn without(place: usize, text: &[u8], recorded: &[HookRow]) -> Vec<u8> {
    let mut lines = lines(text);
    for row in recorded.iter().filter(|row| row.kind == HookKind::Member) {
        if let (GROUP | GSHADOW, Some((group, user))) = (place, split_member(&row.key)) {
            change_members(&mut lines, group, |members| members.retain(|member| member != user));
        }
    }
    lines.retain(|line| !recorded.iter().any(|row| row.kind == KINDS[place] && row.value == *line));
    joined(&lines)
}

struct Work<'a> {
    input: &'a Accounts,
    files: [Option<Vec<Vec<u8>>>; 4],
    rows: BTreeMap<(HookKind, Vec<u8>), Vec<u8>>,
    warnings: Vec<Warning>,
}

impl Work<'_> {
    /// Takes out what is ours and nobody wants any more.
    fn take_out(&mut self) {
        let wanted = |group: &[u8], user: &[u8]| {
            let user = self.input.users.values().find(|wanted| wanted.name.as_bytes() == user);
            user.is_some_and(|user| user.groups.iter().any(|wanted| wanted.as_bytes() == group))
        };
        let rows: Vec<_> = self.input.recorded.iter().collect();
        for row in rows.iter().filter(|row| row.kind == HookKind::Member) {
            let Some((group, user)) = split_member(&row.key) else {
                continue;
            };
            if !wanted(group, user) && !self.is_kept(user) {
                for place in [GROUP, GSHADOW] {
                    if let Some(lines) = &mut self.files[place] {
                        change_members(lines, group, |members| members.retain(|member| member != user));
                    }
                }
                self.rows.remove(&(row.kind, row.key.clone()));
            }
        }
        for row in rows {
            let Some(place) = KINDS.iter().position(|kind| *kind == row.kind) else {
                continue;
            };
            let name = String::from_utf8_lossy(&row.key);
            let wanted = match row.kind {
                HookKind::User | HookKind::Shadow => self.input.users.contains_key(&*name),
                _ => self.input.groups.contains_key(&*name),
            };
            if wanted || self.is_kept(&row.key) {
                continue;
            }
            if let Some(lines) = &mut self.files[place] {
                let edited = find(lines, &row.key).is_some_and(|line| *line != row.value);
                if edited && matches!(row.kind, HookKind::User | HookKind::Group) {
                    self.warnings.push(Warning::AccountKept { name: name.into_owned() });
                }
                lines.retain(|line| *line != row.value);
            }
            self.rows.remove(&(row.kind, row.key.clone()));
        }
    }

    fn is_kept(&self, name: &[u8]) -> bool {
        str::from_utf8(name).is_ok_and(|name| self.input.kept.contains(name))
    }

    fn group(&mut self, name: &str, id: Option<u32>) {
        if self.number(GROUP, name).is_some() {
            return;
        }
        let recorded = self.rows.get(&(HookKind::Group, name.into())).and_then(|line| number(line));
        if recorded.is_some() && !self.input.fresh[GROUP] && self.files[GROUP].is_some() {
            // Somebody took it out.
            return;
        }
        let same_user = self.input.users.get(name).and_then(|user| user.id);
        let taken = self.number(PASSWD, name);
        let wanted = recorded.or(id).or(same_user).or(taken);
        let id = self.choose(name, wanted, |work, id| {
            work.is_free(GROUP, id)
                && (taken.is_some() || !work.input.users.contains_key(name) || work.is_free(PASSWD, id))
        });
        self.add(GROUP, name, format!("{name}:x:{id}:"));
        self.add(GSHADOW, name, format!("{name}:!*::"));
    }

    fn user(&mut self, user: &HookUser) {
        let name = user.name.as_str();
        let group = user.group.as_deref().unwrap_or(name);
        let gid = self.number(GROUP, group).unwrap_or(65_534);
        let home = user.home.as_deref().unwrap_or("/");
        let shell = user.shell.as_deref().unwrap_or(NO_SHELL);
        let comment = user.comment.as_deref().unwrap_or_default();
        // Without a file of passwords, the lock is in the line itself.
        let password = if self.files[SHADOW].is_some() { "x" } else { "!*" };
        let line = |id: u32| format!("{name}:{password}:{id}:{gid}:{comment}:{home}:{shell}");
        let key = (HookKind::User, name.as_bytes().to_vec());
        let recorded = self.rows.get(&key).cloned();
        if let Some(id) = self.number(PASSWD, name) {
            // Ours, and as we wrote it: it follows the declaration.
            if let (Some(old), Some(lines)) = (&recorded, &mut self.files[PASSWD])
                && let Some(there) = lines.iter_mut().find(|line| *line == old)
            {
                let new = line(id).into_bytes();
                there.clone_from(&new);
                self.rows.insert(key, new);
            }
            return;
        }
        let before = recorded.as_deref().and_then(number);
        if before.is_some() && !self.input.fresh[PASSWD] && self.files[PASSWD].is_some() {
            return;
        }
        let wanted = before.or(user.id).or((group == name).then_some(gid));
        let declared = before.or(user.id);
        let id = match wanted.filter(|id| self.is_free(PASSWD, *id)) {
            Some(id) if declared.is_none_or(|declared| declared == id) => id,
            _ => self.choose(name, declared, |work, id| work.is_free(PASSWD, id)),
        };
        self.add(PASSWD, name, line(id));
        self.add(SHADOW, name, format!("{name}:!*:::::::"));
    }

    fn member(&mut self, group: &str, user: &str) {
        let key = (HookKind::Member, format!("{group}:{user}").into_bytes());
        if self.rows.contains_key(&key) && !self.input.fresh[GROUP] {
            return;
        }
        let mut added = false;
        for place in [GROUP, GSHADOW] {
            if let Some(lines) = &mut self.files[place] {
                change_members(lines, group.as_bytes(), |members| {
                    if !members.iter().any(|member| *member == user.as_bytes()) {
                        members.push(user.as_bytes().to_vec());
                        added = true;
                    }
                });
            }
        }
        if added {
            self.rows.insert(key, Vec::new());
        }
    }

    /// Adds a line, and makes the file where it is missing; files of passwords are not made.
    fn add(&mut self, place: usize, name: &str, line: String) {
        let key = (KINDS[place], name.as_bytes().to_vec());
        if self.files[place].is_none() {
            if matches!(place, SHADOW | GSHADOW) {
                return;
            }
            self.rows.insert((HookKind::File, FILES[place].to_vec()), Vec::new());
        }
        let lines = self.files[place].get_or_insert_default();
        if find(lines, name.as_bytes()).is_none() {
            lines.push(line.clone().into_bytes());
            self.rows.insert(key, line.into_bytes());
        }
    }

    /// Returns the wanted number where it is free, else the highest free one.
    fn choose(&mut self, name: &str, wanted: Option<u32>, free: impl Fn(&Self, u32) -> bool) -> u32 {
        if let Some(id) = wanted {
            if free(self, id) {
                return id;
            }
            self.warnings.push(Warning::IdTaken { name: name.to_owned(), id });
        }
        // Nine hundred are not used up; if they were, the last one is shared.
        FREE_IDS.rev().find(|id| free(self, *id)).unwrap_or(*FREE_IDS.start())
    }

    fn number(&self, place: usize, name: &str) -> Option<u32> {
        number(find(self.files[place].as_deref().unwrap_or_default(), name.as_bytes())?)
    }

    fn is_free(&self, place: usize, id: u32) -> bool {
        let lines = self.files[place].as_deref().unwrap_or_default();
        lines.iter().all(|line| number(line) != Some(id))
    }

    fn finish(mut self) -> Outcome {
        let mut texts: [Option<Vec<u8>>; 4] = Default::default();
        for (place, lines) in self.files.iter().enumerate() {
            let made = (HookKind::File, FILES[place].to_vec());
            texts[place] = match lines {
                // What we made for our lines goes with the last of them.
                Some(lines) if lines.is_empty() && self.rows.remove(&made).is_some() => None,
                Some(lines) => Some(joined(lines)),
                None => None,
            };
            // A file that nothing was to be done to stays as it is, byte for byte.
            if let (Some(before), Some(after)) = (&self.input.texts[place], &mut texts[place])
                && crate::accounts::lines(before) == crate::accounts::lines(after)
            {
                after.clone_from(before);
            }
        }
        let rows = self.rows.into_iter().map(|((kind, key), value)| HookRow { kind, key, value }).collect();
        Outcome { texts, rows, warnings: self.warnings }
    }
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if text.is_empty() { Vec::new() } else { text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect() }
}

fn joined(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect()
}

fn find<'l>(lines: &'l [Vec<u8>], name: &[u8]) -> Option<&'l Vec<u8>> {
    lines.iter().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&b':')))
}

/// Returns the third field of a line.
fn number(line: &[u8]) -> Option<u32> {
    str::from_utf8(line.split(|byte| *byte == b':').nth(2)?).ok()?.parse().ok()
}

fn split_member(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = key.iter().position(|byte| *byte == b':')?;
    Some((&key[..colon], &key[colon + 1..]))
}

/// Changes the last field of a group's line.
fn change_members(lines: &mut [Vec<u8>], group: &[u8], change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let Some(line) =
        lines.iter_mut().find(|line| line.strip_prefix(group).is_some_and(|rest| rest.first() == Some(&b':')))
    else {
        return;
    };
    let Some(colon) = line.iter().rposition(|byte| *byte == b':') else {
        return;
    };
    let parts = line[colon + 1..].split(|byte| *byte == b',').filter(|part| !part.is_empty());
    let mut members: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
    let before = members.clone();
    change(&mut members);
    if members != before {
        line.truncate(colon + 1);
        line.extend(members.join(&b','));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> HookUser {
        HookUser {
            name: name.to_owned(),
            id: None,
            group: None,
            groups: vec![],
            home: None,
            shell: None,
            comment: None,
        }
    }

    fn accounts(passwd: &str, group: &str, users: &[HookUser]) -> Accounts {
        let mut groups = BTreeMap::new();
        for user in users {
            groups.insert(user.group.clone().unwrap_or(user.name.clone()), None);
            groups.extend(user.groups.iter().map(|group| (group.clone(), None)));
        }
        let users = users.iter().map(|user| (user.name.clone(), user.clone())).collect();
        let texts = [Some(passwd.into()), Some(group.into()), None, None];
        Accounts { texts, users, groups, ..Accounts::default() }
    }

    fn text(outcome: &Outcome, place: usize) -> String {
        String::from_utf8(outcome.texts[place].clone().unwrap()).unwrap()
    }

    /// What is there afterwards, as the next question's start.
    fn next(outcome: &Outcome, users: &[HookUser]) -> Accounts {
        Accounts { texts: outcome.texts.clone(), recorded: outcome.rows.clone(), ..accounts("", "", users) }
            .with_texts(outcome)
    }

    impl Accounts {
        fn with_texts(mut self, outcome: &Outcome) -> Self {
            self.texts = outcome.texts.clone();
            self
        }
    }

    #[test]
    fn accounts_come_and_go_without_a_trace() {
        let (passwd, group) = ("root:x:0:0::/:/bin/sh\nlast:x:999:999::/:", "root:x:0:\naudio:x:29:me\n");
        let mut tool = user("tool");
        tool.groups = vec!["audio".to_owned(), "fresh".to_owned()];
        let made = accounts(passwd, group, std::slice::from_ref(&tool)).outcome();
        assert_eq!(
            text(&made, PASSWD),
            "root:x:0:0::/:/bin/sh\nlast:x:999:999::/:\ntool:!*:998:998::/:/usr/sbin/nologin\n"
        );
        assert_eq!(text(&made, GROUP), "root:x:0:\naudio:x:29:me,tool\nfresh:x:999:tool\ntool:x:998:\n");
        // Asked again, nothing changes.
        assert_eq!(next(&made, std::slice::from_ref(&tool)).outcome(), made);
        let gone = next(&made, &[]).outcome();
        assert_eq!(text(&gone, PASSWD), format!("{passwd}\n"));
        assert_eq!((text(&gone, GROUP).as_str(), gone.rows.len()), (group, 0));
        for (place, before) in [(PASSWD, passwd), (GROUP, group)] {
            let stripped = without(place, made.texts[place].as_ref().unwrap(), &made.rows);
            assert_eq!(lines(&stripped), lines(before.as_bytes()), "{place}");
        }
    }

    #[test]
    fn declared_numbers_are_given_where_they_are_free() {
        let mut tool = user("tool");
        tool.id = Some(412);
        let made = accounts("", "", std::slice::from_ref(&tool)).outcome();
        assert_eq!(text(&made, PASSWD), "tool:!*:412:412::/:/usr/sbin/nologin\n");
        assert_eq!(text(&made, GROUP), "tool:x:412:\n");
        let made = accounts("other:x:412:1::/:\n", "", &[tool]).outcome();
        assert_eq!(number(find(&lines(made.texts[PASSWD].as_ref().unwrap()), b"tool").unwrap()), Some(999));
        assert!(made.warnings.contains(&Warning::IdTaken { name: "tool".to_owned(), id: 412 }), "{made:?}");
    }

    #[test]
    fn what_people_did_stays() {
        let made = accounts("", "", &[user("tool")]).outcome();
        // Edited: stays when the package goes, and when the declaration changes.
        let mut edited = next(&made, &[]);
        edited.texts[PASSWD] = Some(b"tool:!*:999:999::/home:/bin/sh\n".to_vec());
        assert_eq!(text(&edited.outcome(), PASSWD), "tool:!*:999:999::/home:/bin/sh\n");
        assert_eq!(edited.outcome().warnings, [Warning::AccountKept { name: "tool".to_owned() }]);
        let mut other = user("tool");
        other.shell = Some("/bin/zsh".to_owned());
        let mut upgraded = next(&made, std::slice::from_ref(&other));
        assert_eq!(text(&upgraded.outcome(), PASSWD), "tool:!*:999:999::/:/bin/zsh\n");
        upgraded.texts.clone_from(&edited.texts);
        assert_eq!(text(&upgraded.outcome(), PASSWD), "tool:!*:999:999::/home:/bin/sh\n");
        // Taken out: is not brought again, except into a file that a package brings anew.
        upgraded.texts[PASSWD] = Some(b"root:x:0:0::/:\n".to_vec());
        assert_eq!(text(&upgraded.outcome(), PASSWD), "root:x:0:0::/:\n");
        upgraded.fresh[PASSWD] = true;
        assert_eq!(text(&upgraded.outcome(), PASSWD), "root:x:0:0::/:\ntool:!*:999:999::/:/bin/zsh\n");
        // Was there before: is never ours.
        let there = accounts("tool:x:7:7::/:\n", "tool:x:7:\n", &[user("tool")]).outcome();
        assert_eq!((text(&there, PASSWD).as_str(), there.rows.len()), ("tool:x:7:7::/:\n", 0));
        // Still owns something.
        let mut kept = next(&made, &[]);
        kept.kept.insert("tool".to_owned());
        assert_eq!(kept.outcome(), made);
    }

    #[test]
    fn passwords_are_locked_where_they_are_kept() {
        let mut asked = accounts("", "", &[user("tool")]);
        asked.texts[SHADOW] = Some(b"root:*:1::::::\n".to_vec());
        asked.texts[GSHADOW] = Some(Vec::new());
        let made = asked.outcome();
        assert!(text(&made, PASSWD).starts_with("tool:x:"));
        assert_eq!(text(&made, SHADOW), "root:*:1::::::\ntool:!*:::::::\n");
        assert_eq!(text(&made, GSHADOW), "tool:!*::\n");
        let gone = next(&made, &[]).outcome();
        assert_eq!((text(&gone, SHADOW).as_str(), text(&gone, GSHADOW).as_str()), ("root:*:1::::::\n", ""));
    }

    #[test]
    fn files_that_are_made_go_with_the_last_line() {
        let asked = Accounts { texts: Default::default(), ..accounts("", "", &[user("tool")]) };
        let made = asked.outcome();
        assert!(made.texts[SHADOW].is_none() && made.texts[GSHADOW].is_none());
        let gone = next(&made, &[]).outcome();
        assert_eq!((gone.texts, gone.rows), (Default::default(), vec![]));
    }
}
