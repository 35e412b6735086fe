// recipes/src/read/build.rs
//! `[build]`: how the package is built.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::expansion::nearest;
use crate::name::Name;
use crate::policy::{Policies, Policy};
use crate::reader::{Reader, Section};
use crate::recipe::{Build, Phase};
use crate::text::quote;

use super::known;
use super::locations::inner_path;

/// Keys of the section.
pub(super) const KEYS: [&str; 18] = [
    "requires",
    "makedepends",
    "checkdepends",
    "setup",
    "configure",
    "make",
    "check",
    "install",
    "post_install",
    "environment",
    "workdir",
    "jobs",
    "seed",
    "memory",
    "timeout",
    "disk",
    "processes",
    "options",
];

/// Keys that are meant but not built yet.
const LATER: [&str; 1] = ["stage"];

/// Words of other formats, where an option might stand, and what takes their place.
const FOREIGN_OPTIONS: [(&str, &str); 7] = [
    ("zipman", "write `compress-man`"),
    ("debug", "write `debuginfo`"),
    ("makeflags", "a build that is not safe in parallel has `jobs = 1` in [build]"),
    ("buildflags", "the flags of a build stand in [build.environment]"),
    ("autodeps", "libraries are found by scanning; what must not be a requirement is not linked"),
    ("ccache", "results are kept by their key: there is nothing to switch"),
    ("distcc", "a build runs on one machine: leave it out"),
];

/// What to do about a NUL.
const NO_NUL: &str = "leave `\\u0000` out";

/// How many jobs a recipe may ask for.
const JOBS: Range<u64> = 1..4097;

/// How many processes a recipe may allow: as many as a shell and what it runs need, up to what the kernel can number.
const PROCESSES: Range<u64> = 16..4_194_305;

/// Digits of a seed's id that are enough to find it.
const SHORTEST_ID: usize = 8;

/// Units of memory and of disks.
const MEMORY_UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Units of time.
const TIME_UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];

/// Reads the section.
pub(super) fn read<'t>(reader: &mut Reader<'t>, root: &Section<'t>) -> Build {
    let Some(section) = reader.section(root, "build") else {
        return Build::default();
    };
    known(reader, &section, &KEYS, &LATER);
    let requires = reader.parsed_list(&section, "requires");
    let makedepends = reader.parsed_list(&section, "makedepends");
    let checkdepends = reader.parsed_list(&section, "checkdepends");
    let steps =
        Phase::ALL.into_iter().filter_map(|phase| Some((phase, step(reader, &section, phase.name())?))).collect();
    let environment = environment(reader, &section);
    let workdir = inner_path(reader, &section, "workdir", "the source");
    let jobs = reader.integer(&section, "jobs", JOBS).and_then(|jobs| u32::try_from(jobs).ok());
    let seed = seed(reader, &section);
    let memory_bytes = quantity(reader, &section, "memory", &MEMORY_UNITS, "write it like `\"4GiB\"` or `\"512MiB\"`");
    let timeout_secs =
        quantity(reader, &section, "timeout", &TIME_UNITS, "write it like `\"2h\"`, `\"90m\"` or `\"30s\"`");
    let disk_bytes = quantity(reader, &section, "disk", &MEMORY_UNITS, "write it like `\"20GiB\"` or `\"500MiB\"`");
    let processes = reader.integer(&section, "processes", PROCESSES);
    let policies = policies(reader, &section).unwrap_or_default();
    Build {
        requires,
        makedepends,
        checkdepends,
        steps,
        environment,
        workdir,
        jobs,
        seed,
        memory_bytes,
        timeout_secs,
        disk_bytes,
        processes,
        policies,
    }
}

/// Reads `options`, each a policy that is switched on or, with `!`, off.
pub(super) fn policies<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<Policies> {
    if !section.has("options") {
        return None;
    }
    let mut policies = Policies::default();
    let mut seen = Vec::new();
    for text in reader.texts(section, "options") {
        let (word, on) = text.full.strip_prefix('!').map_or((text.full.as_str(), true), |word| (word, false));
        let Some(policy) = Policy::ALL.into_iter().find(|policy| policy.name() == word) else {
            let names = || Policy::ALL.into_iter().map(Policy::name);
            let foreign =
                FOREIGN_OPTIONS.iter().find(|(foreign, _)| *foreign == word).map(|(_, hint)| (*hint).to_owned());
            let near = || nearest(word, names()).map(|near| format!("did you mean `{near}`?"));
            let known = || format!("known here: {}", names().collect::<Vec<_>>().join(", "));
            let hint = foreign.or_else(near).unwrap_or_else(known);
            reader.report(text.span, format!("unknown option {}", quote(&text.full)), hint);
            continue;
        };
        if seen.contains(&policy) {
            reader.report(text.span, format!("the option `{word}` stands there twice"), "keep the one that is meant");
            continue;
        }
        seen.push(policy);
        policies.set(policy, on);
    }
    Some(policies)
}

/// Reads a step. An empty one is none.
pub(super) fn step<'t>(reader: &mut Reader<'t>, section: &Section<'t>, key: &str) -> Option<String> {
    let text = reader.text(section, key)?;
    if text.full.contains('\0') {
        reader.report(text.span, format!("the step `{key}` contains a NUL, which no shell reads"), NO_NUL);
        return None;
    }
    if text.full.trim().is_empty() { None } else { Some(text.carried) }
}

/// Reads the variables of the steps.
fn environment<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let Some(table) = reader.section(section, "environment") else {
        return environment;
    };
    for (key, _) in table.in_order() {
        let name = key.get_ref().as_ref();
        if reader.is_full() {
            break;
        }
        if let Some((problem, hint)) = refused(name) {
            reader.report(key.span(), format!("the variable {} {problem}", quote(name)), hint);
            continue;
        }
        let Some(text) = reader.text(&table, name) else {
            continue;
        };
        if text.full.contains('\0') {
            reader.report(text.span, format!("the variable `{name}` contains a NUL"), NO_NUL);
        } else if name == "SOURCE_DATE_EPOCH" && text.full.parse::<u32>().is_err() {
            let hint = "write whole seconds since 1970, like `\"1700000000\"`".to_owned();
            reader.report(text.span, format!("{} is not a time", quote(&text.full)), hint);
        } else {
            environment.insert(name.to_owned(), text.carried);
        }
    }
    environment
}

/// Says why a variable cannot be set for the steps.
///
/// What the sandbox promises is not the recipe's to change, and what makes a program load or run foreign code
/// before its own would reach the shell that runs the step. Inside a step a shell may still set all of them.
fn refused(name: &str) -> Option<(&'static str, &'static str)> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || !name.chars().all(allowed) {
        return Some(("is no name that a shell knows", "write letters, digits and `_`, and no digit first"));
    }
    match name {
        "DESTDIR" => Some((
            "names the output and is set by Conary",
            "leave it out, and use `$DESTDIR` or `%(destdir)s` in the steps",
        )),
        "HOME" | "TMPDIR" | "USER" | "LOGNAME" | "SHELL" | "PWD" | "OLDPWD" | "SHLVL" | "TERM" => {
            Some(("is set by the sandbox", "set it inside the step that needs another value"))
        }
        "LD_PRELOAD" | "LD_AUDIT" | "BASH_ENV" | "ENV" => {
            Some(("would run code before the step itself", "set it inside the step, for the one command that needs it"))
        }
        _ => None,
    }
}

/// Reads what names a seed: a name, or an id or its beginning.
fn seed<'t>(reader: &mut Reader<'t>, section: &Section<'t>) -> Option<String> {
    let text = reader.text(section, "seed")?;
    let is_id = text.full.strip_prefix("blake3:").is_some_and(|digits| {
        (SHORTEST_ID..=64).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
    });
    if !is_id && text.full.parse::<Name>().is_err() {
        let hint = "write a name or an id that `conary seed list` shows";
        reader.report(text.span, format!("{} names no seed", quote(&text.full)), hint);
        return None;
    }
    Some(text.full)
}

/// Reads a number and its unit.
fn quantity<'t>(
    reader: &mut Reader<'t>,
    section: &Section<'t>,
    key: &str,
    units: &[(&str, u64)],
    hint: &str,
) -> Option<u64> {
    let text = reader.text(section, key)?;
    let parsed = units.iter().find_map(|(unit, factor)| {
        let number = text.full.strip_suffix(unit)?.trim_end();
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = if plain {
            number.parse::<u64>().ok()?
        } else {
            return None;
        };
        number.checked_mul(*factor).filter(|amount| (1..=i64::MAX.unsigned_abs()).contains(amount))
    });
    if parsed.is_none() {
        reader.report(text.span, format!("{} is no amount for `{key}`", quote(&text.full)), hint);
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, sound};
    use super::*;

    #[test]
    fn a_build_is_read() {
        let build = sound(
            "[build]\npost_install = 'p'\nsetup = 's'\nmake = '''\n'''\ninstall = 'i'\njobs = 1\nmemory = '4GiB'\ntimeout = '90m'\ndisk = '1MiB'\nprocesses = 100\n\
             [build.environment]\nSOURCE_DATE_EPOCH = '1700000000'\n_a1 = ''\n",
        )
        .build;
        let steps: Vec<(Phase, &str)> = build.steps.iter().map(|(phase, step)| (*phase, step.as_str())).collect();
        assert_eq!(steps, [(Phase::Setup, "s"), (Phase::Install, "i"), (Phase::PostInstall, "p")]);
        assert_eq!((build.jobs, build.memory_bytes, build.timeout_secs), (Some(1), Some(4 << 30), Some(5400)));
        assert_eq!((build.disk_bytes, build.processes), (Some(1 << 20), Some(100)));
        assert_eq!(build.environment["SOURCE_DATE_EPOCH"], "1700000000");
        for (text, expected) in [("1KiB", 1024), ("512 MiB", 512 << 20), ("2TiB", 2 << 40)] {
            assert_eq!(sound(&format!("[build]\nmemory = '{text}'\n")).build.memory_bytes, Some(expected));
        }
        for (text, expected) in [("30s", 30), ("2h", 7200), ("1d", 86400)] {
            assert_eq!(sound(&format!("[build]\ntimeout = '{text}'\n")).build.timeout_secs, Some(expected));
        }
    }

    #[test]
    fn what_is_no_build_is_refused() {
        check(&[
            ("[build]\njobs = 0\n", "5:8", "`build.jobs` must lie between 1 and 4096", ""),
            ("[build]\nprocesses = 1\n", "5:13", "`build.processes` must lie between 16 and 4194304", ""),
            ("[build]\njobs = 'all'\n", "5:8", "must be a whole number, found text", ""),
            ("[build]\nmake = ['make']\n", "5:8", "`build.make` must be text, found a list", ""),
            ("[build]\nmake = \"a\\u0000b\"\n", "5:8", "contains a NUL", ""),
            ("[build]\nrequires = 'zlib'\n", "5:12", "must be a list of texts, found text", "write `['zlib']`"),
            ("[build]\nrequires = ['zlib >= ']\n", "5:13", "cannot be empty", "letters, digits"),
            (
                "[build]\nmakedepends = ['a', 'perl(X)']\n",
                "5:21",
                "unknown kind of requirement `perl`",
                "pkgconfig(zlib)",
            ),
            ("[build]\nenvironment = ['A=b']\n", "5:15", "must be a table, found a list", "[build.environment]"),
            ("[build.environment]\nA = 1\n", "5:5", "`build.environment.A` must be text", "`\"1\"`"),
            ("[build.environment]\nA = \"\\u0000\"\n", "5:5", "contains a NUL", ""),
            ("[build.environment]\nSOURCE_DATE_EPOCH = 'now'\n", "5:21", "`now` is not a time", "seconds since 1970"),
            ("[build]\nbuild = 'make'\n", "5:1", "unknown key `build`", "is `make`"),
        ]);
        for amount in ["4", "4GB", "4gib", "GiB", "-1GiB", "1.5GiB", "0GiB", "99999999999999TiB", "+4GiB"] {
            check(&[(&format!("[build]\nmemory = '{amount}'\n"), "5:10", "is no amount for `memory`", "`\"4GiB\"`")]);
        }
        for amount in ["2", "2 hours", "h", "0s", "1h30m", "99999999999999999d"] {
            check(&[(&format!("[build]\ntimeout = '{amount}'\n"), "5:11", "is no amount for `timeout`", "`\"2h\"`")]);
        }
    }

    #[test]
    fn a_seed_is_named_or_given_by_its_id() {
        for text in ["debian", "debian-12", "blake3:0123456789ab", "0123456789ab"] {
            assert_eq!(sound(&format!("[build]\nseed = '{text}'\n")).build.seed.as_deref(), Some(text));
        }
        for text in ["", "a/b", "Debian", "blake3:0123", "blake3:0123456X", "sha256:0123456789ab"] {
            check(&[(&format!("[build]\nseed = '{text}'\n"), "5:8", "names no seed", "`conary seed list`")]);
        }
    }

    #[test]
    fn options_switch_policies() {
        let build = sound("[build]\noptions = ['strip', '!libtool', 'docs']\ncheckdepends = ['python']\n").build;
        assert_eq!(build.policies.to_string(), "strip !libtool");
        assert_eq!(build.checkdepends[0].to_string(), "python");
        assert_eq!(sound("[build]\n").build.policies, Policies::default());
        check(&[
            ("[build]\noptions = ['zipman']\n", "5:12", "unknown option `zipman`", "write `compress-man`"),
            ("[build]\noptions = ['!makeflags']\n", "5:12", "unknown option `!makeflags`", "`jobs = 1`"),
            ("[build]\noptions = ['doc']\n", "5:12", "unknown option `doc`", "did you mean `docs`?"),
            ("[build]\noptions = ['!!docs']\n", "5:12", "unknown option `!!docs`", "did you mean `docs`?"),
            ("[build]\noptions = ['zzzzzz']\n", "5:12", "unknown option `zzzzzz`", "known here: strip, docs"),
            ("[build]\noptions = ['docs', '!docs']\n", "5:20", "`docs` stands there twice", "keep"),
        ]);
    }

    #[test]
    fn variables_that_the_sandbox_owns_are_refused() {
        let cases = [
            ("DESTDIR", "set by Conary"),
            ("HOME", "set by the sandbox"),
            ("LD_PRELOAD", "would run code"),
            ("BASH_ENV", "would run code"),
            ("\"A B\"", "no name that a shell knows"),
            ("\"A=B\"", "no name that a shell knows"),
            ("1A", "no name that a shell knows"),
            ("\"\"", "no name that a shell knows"),
        ];
        for (name, message) in cases {
            check(&[(&format!("[build.environment]\n{name} = 'x'\n"), "5:1", message, "")]);
        }
        let allowed = ["PATH", "CFLAGS", "MAKEFLAGS", "LC_ALL", "TZ", "LD_LIBRARY_PATH"];
        for name in allowed {
            assert_eq!(sound(&format!("[build.environment]\n{name} = 'x'\n")).build.environment[name], "x");
        }
    }
}
