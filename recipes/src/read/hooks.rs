// recipes/src/read/hooks.rs
//! `[hooks]`, and that of an output: what the system must have.

use std::collections::BTreeMap;

use toml::de::DeValue;

use crate::hooks::{
    ACCOUNT_IDS, HookAlternative, HookDirectory, HookGroup, HookUser, Hooks, is_account_field, is_account_name,
    is_plain_path,
};
use crate::reader::{Reader, Section, Text};
use crate::text::quote;

use super::known;

/// Keys of the section.
pub(super) const KEYS: [&str; 7] = ["users", "groups", "directories", "tmpfiles", "sysctl", "services", "alternatives"];

/// Keys of one of them.
pub(super) const USER_KEYS: [&str; 7] = ["name", "id", "group", "groups", "home", "shell", "comment"];
/// Keys of one of them.
pub(super) const GROUP_KEYS: [&str; 2] = ["name", "id"];
/// Keys of one of them.
pub(super) const DIRECTORY_KEYS: [&str; 4] = ["path", "mode", "owner", "group"];
/// Keys of one of them.
pub(super) const ALTERNATIVE_KEYS: [&str; 4] = ["link", "target", "priority", "also"];

/// Kinds of units that can be enabled.
const UNITS: [&str; 7] = [".service", ".socket", ".timer", ".path", ".target", ".mount", ".automount"];

/// What a `tmpfiles.d` line may begin with.
const TMPFILES_TYPES: &str = "fFwdDevqQpLcbCxXrRzZtThHaA";

/// Priorities that people use reach some hundreds.
const PRIORITIES: std::ops::Range<u64> = 0..1_000_001;

/// Reads the hooks below a section.
pub(super) fn read<'t>(reader: &mut Reader<'t>, parent: &Section<'t>) -> Hooks {
    let Some(section) = reader.section(parent, "hooks") else {
        return Hooks::default();
    };
    known(reader, &section, &KEYS, &[]);
    Hooks {
        users: each(reader, &section, "users", &USER_KEYS, user),
        groups: each(reader, &section, "groups", &GROUP_KEYS, group),
        directories: each(reader, &section, "directories", &DIRECTORY_KEYS, directory),
        tmpfiles: lines(reader, &section),
        sysctl: sysctl(reader, &section),
        services: services(reader, &section),
        alternatives: each(reader, &section, "alternatives", &ALTERNATIVE_KEYS, alternative),
    }
}

fn each<'t, T>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &str,
    keys: &[&str],
    one: impl Fn(&mut Reader<'t>, &Section<'t>) -> Option<T>,
) -> Vec<T> {
    let sections = reader.sections(section, key);
    let mut all = Vec::new();
    for section in &sections {
        known(reader, section, keys, &[]);
        all.extend(one(reader, section));
    }
    all
}

fn user<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<HookUser> {
    let name = required(reader, section, "name", account)?;
    let groups = reader.texts(section, "groups").into_iter().filter_map(|text| account(reader, text)).collect();
    Some(HookUser {
        name,
        id: id(reader, section),
        group: optional(reader, section, "group", account),
        groups,
        home: optional(reader, section, "home", path_field),
        shell: optional(reader, section, "shell", path_field),
        comment: optional(reader, section, "comment", |reader, text| {
            let hint = "write some words without `:`";
            sound(reader, text, is_account_field, "cannot stand in /etc/passwd", hint)
        }),
    })
}

fn group<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<HookGroup> {
    Some(HookGroup { name: required(reader, section, "name", account)?, id: id(reader, section) })
}

fn directory<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<HookDirectory> {
    let path = required(reader, section, "path", path)?;
    let owner = optional(reader, section, "owner", account).unwrap_or_else(|| "root".to_owned());
    let group = optional(reader, section, "group", account).unwrap_or_else(|| "root".to_owned());
    let mode = optional(reader, section, "mode", |reader, text| {
        let parsed = u32::from_str_radix(&text.full, 8).ok().filter(|mode| *mode <= 0o7777);
        if parsed.is_none() {
            let hint = "write it as `chmod` takes it: `\"0750\"`";
            reader.report(text.span, format!("{} is no mode", quote(&text.full)), hint);
        }
        parsed
    });
    Some(HookDirectory { path, mode: mode.unwrap_or(0o755), owner, group })
}

fn alternative<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<HookAlternative> {
    let link = required(reader, section, "link", path);
    let target = required(reader, section, "target", path);
    if !section.has("priority") {
        let message = format!("[{}] has no `priority`", section.title);
        reader.missing(section.span.clone(), message, "add `priority = 50`: of several packages, the highest one wins");
    }
    let priority = reader.integer(section, "priority", PRIORITIES);
    let also = table(reader, section, "also", |reader, key, value| {
        let sound = is_plain_path(key);
        if !sound {
            reader.report(value.span.clone(), format!("{} is no absolute path", quote(key)), PATH_HINT);
        }
        path(reader, value).filter(|_| sound)
    });
    Some(HookAlternative { link: link?, target: target?, priority: u32::try_from(priority?).ok()?, also })
}

fn lines<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<String> {
    let is_line = |text: &str| {
        let mut words = text.split_ascii_whitespace();
        let kind = words.next().and_then(|word| word.chars().next());
        kind.is_some_and(|kind| TMPFILES_TYPES.contains(kind))
            && words.next().is_some_and(|path| path.starts_with(['/', '%']))
            && !text.chars().any(|character| character.is_control() && character != '\t')
    };
    let hint = "write a line of tmpfiles.d, like `d /run/tool 0755 tool tool -`";
    let texts = reader.texts(section, "tmpfiles");
    texts.into_iter().filter_map(|text| sound(reader, text, is_line, "is no line of tmpfiles.d", hint)).collect()
}

fn sysctl<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> BTreeMap<String, String> {
    table(reader, section, "sysctl", |reader, key, value| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/*".contains(&byte);
        let hint = "write it like `\"net.ipv4.ip_forward\" = \"1\"`";
        if key.is_empty() || !key.bytes().all(plain) {
            reader.report(value.span.clone(), format!("{} is no kernel setting", quote(key)), hint);
            return None;
        }
        let is_value =
            |text: &str| !text.is_empty() && !text.chars().any(|character| character.is_control() && character != '\t');
        sound(reader, value, is_value, "is no value of a kernel setting", hint)
    })
}

fn services<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Vec<String> {
    let is_unit = |text: &str| {
        let stem = UNITS.iter().find_map(|suffix| text.strip_suffix(suffix));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        stem.is_some_and(|stem| {
            !stem.is_empty() && !stem.starts_with(['.', '@']) && text.len() <= 255 && stem.bytes().all(plain)
        })
    };
    let hint = "name a unit of the package in full, like `tool.service`";
    let texts = reader.texts(section, "services");
    texts.into_iter().filter_map(|text| sound(reader, text, is_unit, "is no unit that can be enabled", hint)).collect()
}

/// Reads a table of texts by key.
fn table<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &str,
    one: impl Fn(&mut Reader<'t>, &str, Text) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let Some(inner) = reader.section(section, key) else {
        return all;
    };
    for (name, value) in inner.in_order() {
        let name = name.get_ref().as_ref();
        if matches!(value.get_ref(), DeValue::Table(_)) {
            let hint = "put the whole name in quotes";
            reader.report(value.span(), format!("{} is a table in [{}]", quote(name), inner.title), hint);
            continue;
        }
        if let Some(text) = reader.text_of(&inner.title, value)
            && let Some(value) = one(reader, name, text)
        {
            all.insert(name.to_owned(), value);
        }
    }
    all
}

fn required<'t, T>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &str,
    one: impl Fn(&mut Reader<'t>, Text) -> Option<T>,
) -> Option<T> {
    if !section.has(key) {
        let message = format!("[{}] has no `{key}`", section.title);
        reader.missing(section.span.clone(), message, &format!("add `{key} = \"…\"`"));
    }
    optional(reader, section, key, one)
}

fn optional<'t, T>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &str,
    one: impl Fn(&mut Reader<'t>, Text) -> Option<T>,
) -> Option<T> {
    let text = reader.text(section, key)?;
    one(reader, text)
}

fn id<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<u32> {
    reader.integer(section, "id", ACCOUNT_IDS).and_then(|id| u32::try_from(id).ok())
}

fn account(reader: &mut Reader<'_>, text: Text) -> Option<String> {
    let hint = "lower-case letters, digits, `-` and `_`, up to 31, beginning with a letter or `_`";
    sound(reader, text, is_account_name, "cannot be the name of a user or group", hint)
}

const PATH_HINT: &str = "write it from the root on, without `.` and `..`, like `/var/lib/tool`";

fn path(reader: &mut Reader<'_>, text: Text) -> Option<String> {
    sound(reader, text, is_plain_path, "is no absolute path", PATH_HINT)
}

fn path_field(reader: &mut Reader<'_>, text: Text) -> Option<String> {
    let is_path = |text: &str| (text == "/" || is_plain_path(text)) && is_account_field(text);
    sound(reader, text, is_path, "is no absolute path without `:`", PATH_HINT)
}

/// Takes a text for which `test` holds, or says what is wrong with it.
fn sound(reader: &mut Reader<'_>, text: Text, test: impl Fn(&str) -> bool, wrong: &str, hint: &str) -> Option<String> {
    if test(&text.full) {
        return Some(text.carried);
    }
    reader.report(text.span, format!("{} {wrong}", quote(&text.full)), hint);
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PACKAGE, refused, sound};

    const WHOLE: &str = "[hooks]\ntmpfiles = ['d /run/%(name)s 0755 tool tool -']\nservices = ['tool.service', 'tool@a.socket']\n\
        [[hooks.users]]\nname = 'tool'\nid = 412\ngroup = 'tools'\ngroups = ['audio']\nhome = '/var/lib/tool'\n\
        shell = '/bin/sh'\ncomment = 'A tool'\n\
        [[hooks.users]]\nname = 'plain'\n[[hooks.groups]]\nname = 'tools'\nid = 413\n\
        [[hooks.directories]]\npath = '/var/lib/tool'\nmode = '2750'\nowner = 'tool'\ngroup = 'tools'\n\
        [[hooks.directories]]\npath = '/srv/tool'\n[hooks.sysctl]\n'net.ipv4.ip_forward' = '1'\n\
        [[hooks.alternatives]]\nlink = '/usr/bin/editor'\ntarget = '/usr/bin/tool'\npriority = 50\n\
        also = { '/usr/share/man/man1/editor.1' = '/usr/share/man/man1/tool.1' }\n";

    #[test]
    fn every_key_is_read() {
        let hooks = sound(WHOLE).hooks;
        let user = &hooks.users[0];
        assert_eq!((user.name.as_str(), user.id, user.group.as_deref()), ("tool", Some(412), Some("tools")));
        assert_eq!((user.home.as_deref(), user.shell.as_deref()), (Some("/var/lib/tool"), Some("/bin/sh")));
        assert_eq!((user.groups.as_slice(), user.comment.as_deref()), (&["audio".to_owned()][..], Some("A tool")));
        assert_eq!((hooks.users[1].id, hooks.users[1].home.as_deref()), (None, None));
        assert_eq!((hooks.groups[0].name.as_str(), hooks.groups[0].id), ("tools", Some(413)));
        let directory = &hooks.directories[0];
        assert_eq!((directory.path.as_str(), directory.mode), ("/var/lib/tool", 0o2750));
        assert_eq!((hooks.directories[1].mode, hooks.directories[1].owner.as_str()), (0o755, "root"));
        assert_eq!(hooks.services, ["tool.service", "tool@a.socket"]);
        assert_eq!(hooks.sysctl["net.ipv4.ip_forward"], "1");
        let alternative = &hooks.alternatives[0];
        assert_eq!((alternative.priority, alternative.also.len()), (50, 1));
        assert_eq!(hooks.tmpfiles, ["d /run/%(name)s 0755 tool tool -"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (body, message) in [
            ("[hooks]\nuser = []\n", "unknown key `user` in [hooks]"),
            ("[[hooks.users]]\nid = 3\n", "[hooks.users[0]] has no `name`"),
            ("[[hooks.users]]\nname = 'Root'\n", "cannot be the name of a user or group"),
            ("[[hooks.users]]\nname = 'x'\nid = 0\n", "must lie between 1 and 65533"),
            ("[[hooks.users]]\nname = 'x'\nuid = 3\n", "unknown key `uid`"),
            ("[[hooks.users]]\nname = 'x'\nhome = '/a:b'\n", "is no absolute path without `:`"),
            ("[[hooks.users]]\nname = 'x'\ncomment = 'a:b'\n", "cannot stand in /etc/passwd"),
            ("[[hooks.directories]]\npath = '/a/../b'\n", "is no absolute path"),
            ("[[hooks.directories]]\npath = '/a'\nmode = '888'\n", "is no mode"),
            ("[hooks]\ntmpfiles = ['/run/x']\n", "is no line of tmpfiles.d"),
            ("[hooks]\ntmpfiles = [\"d /run/x\\nd /y\"]\n", "is no line of tmpfiles.d"),
            ("[hooks]\nservices = ['tool']\n", "is no unit that can be enabled"),
            ("[hooks]\nservices = ['../tool.service']\n", "is no unit that can be enabled"),
            ("[hooks.sysctl]\nnet.ipv4.ip_forward = '1'\n", "is a table in [hooks.sysctl]"),
            ("[hooks.sysctl]\n'a b' = '1'\n", "is no kernel setting"),
            ("[hooks.sysctl]\n'a' = \"1\\n2\"\n", "is no value of a kernel setting"),
            ("[[hooks.alternatives]]\nlink = '/a'\ntarget = '/b'\n", "has no `priority`"),
            ("[[hooks.alternatives]]\nlink = 'a'\ntarget = '/b'\npriority = 1\n", "is no absolute path"),
        ] {
            let said = refused(&format!("{PACKAGE}{body}"));
            assert!(said.iter().any(|said| said.message.contains(message)), "{body}: {said:?}");
        }
    }
}
