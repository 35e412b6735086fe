// converters/src/pkgbuild/profile.rs
//! What makepkg's configuration says on the machine that a PKGBUILD was written for: flags, and what is done with the output.
//!
//! A recipe is complete on its own page, so a profile is written into it when it is made, and nothing asks for it later.

use super::Description;

/// A named set of flags and options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// What `$CHOST` is.
    pub chost: &'static str,
    /// Variables that `!buildflags` takes away.
    flags: &'static [(&'static str, &'static str)],
    /// What is added to `CFLAGS` and `CXXFLAGS` with `debug`.
    debug_flags: &'static str,
    /// The same for `RUSTFLAGS`.
    debug_rust_flags: &'static str,
    /// What is on without a word in the PKGBUILD, by makepkg's names.
    on: &'static [&'static str],
}

/// All profiles, the default first.
pub const PROFILES: [Profile; 3] = [
    Profile {
        name: "arch",
        about: "the flags and options of Arch Linux",
        chost: "x86_64-pc-linux-gnu",
        flags: &[
            (
                "CFLAGS",
                "-march=x86-64 -mtune=generic -O2 -pipe -fno-plt -fexceptions -Wp,-D_FORTIFY_SOURCE=3 -Wformat \
                 -Werror=format-security -fstack-clash-protection -fcf-protection -fno-omit-frame-pointer \
                 -mno-omit-leaf-frame-pointer",
            ),
            (
                "CXXFLAGS",
                "-march=x86-64 -mtune=generic -O2 -pipe -fno-plt -fexceptions -Wp,-D_FORTIFY_SOURCE=3 -Wformat \
                 -Werror=format-security -fstack-clash-protection -fcf-protection -fno-omit-frame-pointer \
                 -mno-omit-leaf-frame-pointer -Wp,-D_GLIBCXX_ASSERTIONS",
            ),
            (
                "LDFLAGS",
                "-Wl,-O1 -Wl,--sort-common -Wl,--as-needed -Wl,-z,relro -Wl,-z,now -Wl,-z,pack-relative-relocs",
            ),
            ("RUSTFLAGS", "-Cforce-frame-pointers=yes"),
        ],
        debug_flags: "-g",
        debug_rust_flags: "-C debuginfo=2",
        on: &["strip", "docs", "emptydirs", "zipman", "purge", "debug", "lto"],
    },
    Profile {
        name: "debian",
        about: "those of Debian's makepkg: no flags, strip, compress and purge",
        chost: "x86_64-linux-gnu",
        flags: &[],
        debug_flags: "",
        debug_rust_flags: "",
        on: &["strip", "docs", "libtool", "staticlibs", "emptydirs", "zipman", "purge"],
    },
    Profile {
        name: "plain",
        about: "no flags, and the output as the functions left it",
        chost: "x86_64-pc-linux-gnu",
        flags: &[],
        debug_flags: "",
        debug_rust_flags: "",
        on: &["docs", "libtool", "staticlibs", "emptydirs"],
    },
];

/// Options that become `build.options`: makepkg's name, ours, and whether ours is on by itself.
const POLICIES: [(&str, &str, bool); 9] = [
    ("strip", "strip", false),
    ("debug", "debuginfo", false),
    ("docs", "docs", true),
    ("libtool", "libtool", true),
    ("staticlibs", "staticlibs", true),
    ("emptydirs", "emptydirs", true),
    ("zipman", "compress-man", false),
    ("purge", "purge", false),
    ("lto", "lto", false),
];

/// Options that a build here follows in another way, or that change nothing about its result.
const OTHERS: [&str; 7] = ["buildflags", "makeflags", "ccache", "distcc", "color", "sign", "check"];

impl Profile {
    /// `OPTIONS` as its makepkg has it.
    pub(super) fn options(&self) -> String {
        const ALL: [&str; 9] =
            ["strip", "docs", "libtool", "staticlibs", "emptydirs", "zipman", "purge", "debug", "lto"];
        ALL.map(|name| if self.on.contains(&name) { name.to_owned() } else { format!("!{name}") }).join(" ")
    }

    /// The profile of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        PROFILES.into_iter().find(|profile| profile.name == name)
    }

    /// Whether an option is on, by the last word of `options` about it, else by the profile.
    fn has(&self, options: &[String], name: &str) -> bool {
        said(options, name).unwrap_or_else(|| self.on.contains(&name) || ["buildflags", "makeflags"].contains(&name))
    }

    /// The words of `build.options` for a package with these `options`.
    pub(crate) fn policies(&self, options: &[String]) -> Vec<String> {
        let debug_alone = !self.has(options, "strip");
        POLICIES
            .iter()
            .filter(|(name, ..)| {
                !(*name == "debug" && debug_alone || *name == "lto" && !self.has(options, "buildflags"))
            })
            .map(|(name, ours, default)| (*ours, self.has(options, name), *default))
            .filter(|(_, on, default)| on != default)
            .map(|(ours, on, _)| if on { ours.to_owned() } else { format!("!{ours}") })
            .collect()
    }

    /// Variables of the build.
    pub(crate) fn environment(&self, description: &Description) -> Vec<(String, String)> {
        let base = &description.base;
        let options = base.values("options").unwrap_or_default();
        let mut variables: Vec<(String, String)> = Vec::new();
        if self.has(options, "buildflags") {
            variables.extend(self.flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            if self.has(options, "debug") {
                let version = base.value("pkgver").unwrap_or_default();
                // Where the source lies during a build.
                let source = format!("/build/{}-{version}", recipe_name(description));
                let map = format!("{source}=/usr/src/debug/{}", base.name);
                let of_c = format!("{} -ffile-prefix-map={map}", self.debug_flags);
                let of_rust = format!("{} --remap-path-prefix={map}", self.debug_rust_flags);
                for (name, more) in [("CFLAGS", &of_c), ("CXXFLAGS", &of_c), ("RUSTFLAGS", &of_rust)] {
                    let more = more.trim_start();
                    match variables.iter_mut().find(|(known, _)| known == name) {
                        Some((_, value)) => *value = format!("{value} {more}"),
                        None => variables.push((name.to_owned(), more.to_owned())),
                    }
                }
            }
        }
        if !self.has(options, "makeflags") {
            variables.push(("MAKEFLAGS".to_owned(), String::new()));
        }
        variables
    }
}

/// The name that the recipe will have.
pub(crate) fn recipe_name(description: &Description) -> String {
    match &description.packages[..] {
        [package] => package.name.to_lowercase(),
        _ => description.base.name.to_lowercase(),
    }
}

/// What `options` say of one: the last word counts, as in makepkg.
fn said(options: &[String], name: &str) -> Option<bool> {
    options.iter().rev().find_map(|option| match option.strip_prefix('!') {
        Some(off) => (off == name).then_some(false),
        None => (option == name).then_some(true),
    })
}

/// What `options` themselves say, in the words of `build.options`.
pub(crate) fn own_policies(options: &[String]) -> Vec<String> {
    let ours = |(name, ours, _): &(&str, &str, bool)| {
        let on = said(options, name)?;
        Some(if on { (*ours).to_owned() } else { format!("!{ours}") })
    };
    POLICIES.iter().filter_map(ours).collect()
}

/// Whether an option is one that is followed, or may be left out without a difference.
pub(crate) fn is_followed(option: &str) -> bool {
    let (off, name) = option.strip_prefix('!').map_or((false, option), |name| (true, name));
    POLICIES.iter().any(|(known, ..)| *known == name)
        || OTHERS[..2].contains(&name)
        || (off && OTHERS.contains(&name) && name != "check")
}

#[cfg(test)]
mod tests {
    use super::super::Section;
    use super::*;

    fn described(options: &[&str]) -> Description {
        let attributes = vec![
            ("pkgver".to_owned(), vec!["1.0".to_owned()]),
            ("options".to_owned(), options.iter().map(ToString::to_string).collect()),
        ];
        let base = Section { name: "tool".to_owned(), attributes };
        let packages = vec![Section { name: "tool".to_owned(), attributes: Vec::new() }];
        Description { base, packages, ..Description::default() }
    }

    #[test]
    fn what_the_file_says_outranks_the_profile() {
        let debian = Profile::named("debian").unwrap();
        let policies = |options: &[&str]| {
            let options: Vec<String> = options.iter().map(ToString::to_string).collect();
            debian.policies(&options).join(" ")
        };
        assert_eq!(policies(&[]), "strip compress-man purge");
        assert_eq!(policies(&["!strip", "debug"]), "compress-man purge");
        assert_eq!(policies(&["debug", "!libtool", "!zipman"]), "strip debuginfo !libtool purge");
        assert_eq!(policies(&["strip", "!strip"]), "compress-man purge", "the last word counts");
        assert_eq!(Profile::named("plain").unwrap().policies(&[]), Vec::<String>::new());
        let arch = Profile::named("arch").unwrap().policies(&[]).join(" ");
        assert_eq!(arch, "strip debuginfo !libtool !staticlibs compress-man purge lto");
    }

    #[test]
    fn flags_come_and_go_with_the_options() {
        let arch = Profile::named("arch").unwrap();
        let value = |options: &[&str], name: &str| {
            let all = arch.environment(&described(options));
            all.into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
        };
        let cflags = value(&[], "CFLAGS").unwrap();
        assert!(cflags.ends_with("-g -ffile-prefix-map=/build/tool-1.0=/usr/src/debug/tool"), "{cflags}");
        assert!(!value(&["!debug"], "CFLAGS").unwrap().contains("-g "));
        assert_eq!(value(&["!buildflags"], "CFLAGS"), None);
        assert_eq!(value(&["!makeflags"], "MAKEFLAGS").as_deref(), Some(""));
        assert_eq!(Profile::named("debian").unwrap().environment(&described(&[])), Vec::new());
        for (option, followed) in
            [("!ccache", true), ("ccache", false), ("!check", false), ("upx", false), ("lto", true)]
        {
            assert_eq!(is_followed(option), followed, "{option}");
        }
    }
}
