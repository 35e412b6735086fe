// installer/src/trigger/builtin.rs
//! The triggers that Conary brings: caches that nearly every system has.
//!
//! Each is for roots that have its program, and writes below `$OUT` what belongs at the same place of the root.

use store::root_db::TriggerRule;

use super::Trigger;

/// Name, program, patterns, command; in the order in which they run.
const RULES: &[(&str, &str, &[&str], &str)] = &[
    (
        "ldconfig",
        "ldconfig",
        &["/{usr/,usr/local/,}lib{,32,64}/{*,*-linux-*/*}.so{,.*}", "/etc/ld.so.conf", "/etc/ld.so.conf.d/*"],
        "mkdir \"$OUT/etc\"\nldconfig -X -C \"$OUT/etc/ld.so.cache\"",
    ),
    (
        "glib-schemas",
        "glib-compile-schemas",
        &["/usr/share/glib-2.0/schemas/*.{gschema.xml,gschema.override,enums.xml}"],
        "dir=usr/share/glib-2.0/schemas\nmkdir -p \"$OUT/$dir\"\nglib-compile-schemas --targetdir=\"$OUT/$dir\" \"/$dir\"",
    ),
    (
        "mime",
        "update-mime-database",
        &["/usr/share/mime/packages/*.xml"],
        "dir=usr/share/mime\nmkdir -p \"$OUT/$dir\"\ncp -r \"/$dir/packages\" \"$OUT/$dir/packages\"\n\
         update-mime-database \"$OUT/$dir\"\nrm -r \"$OUT/$dir/packages\"",
    ),
    (
        "desktop",
        "update-desktop-database",
        &["/usr/share/applications/**/*.desktop"],
        "dir=usr/share/applications\ncp -r \"/$dir\" \"$OUT/work\"\nupdate-desktop-database -q \"$OUT/work\"\n\
         mkdir -p \"$OUT/$dir\"\nmv \"$OUT/work/mimeinfo.cache\" \"$OUT/$dir/\"\nrm -r \"$OUT/work\"",
    ),
    (
        "icons",
        "gtk-update-icon-cache",
        &["/usr/share/icons/*/**/*.{png,svg,svgz,xpm}", "/usr/share/icons/*/index.theme"],
        "for index in /usr/share/icons/*/index.theme; do\n[ -f \"$index\" ] || continue\ntheme=${index%/index.theme}\n\
         cp -r \"$theme\" \"$OUT/work\"\ngtk-update-icon-cache -q -f \"$OUT/work\"\n\
         if [ -f \"$OUT/work/icon-theme.cache\" ]; then\nmkdir -p \"$OUT$theme\"\n\
         mv \"$OUT/work/icon-theme.cache\" \"$OUT$theme/\"\nfi\nrm -r \"$OUT/work\"\ndone",
    ),
    (
        "fonts",
        "fc-cache",
        &["/usr/share/fonts/**", "/etc/fonts/**"],
        "mkdir -p \"$OUT/var/cache\"\nXDG_CACHE_HOME=\"$OUT/var/cache\" fc-cache -f\nrm -f \"$OUT/var/cache/fontconfig/CACHEDIR.TAG\"",
    ),
    (
        "modules",
        "depmod",
        &["/{usr/,}lib/modules/*/{kernel,extra,updates}/**"],
        // It writes beside what it reads, so that is a directory of links: old indices are replaced there, not followed.
        "lib=/lib\n[ -L /lib ] && lib=/usr/lib\nfor directory in $lib/modules/*; do\nversion=${directory##*/}\n\
         made=$OUT/work/lib/modules/$version\nmkdir -p \"$made\" \"$OUT$lib/modules/$version\"\n\
         for entry in \"$directory\"/*; do\nln -s \"$entry\" \"$made/\"\ndone\ndepmod -b \"$OUT/work\" \"$version\"\n\
         for index in \"$made\"/modules.*; do\n[ -L \"$index\" ] || mv \"$index\" \"$OUT$lib/modules/$version/\"\ndone\n\
         done\nrm -r \"$OUT/work\"",
    ),
];

/// Returns all of them, in order.
pub(super) fn all() -> Vec<Trigger> {
    let trigger = |(name, program, patterns, command): &(&str, &'static str, &[&str], &str)| Trigger {
        rule: TriggerRule {
            name: (*name).to_owned(),
            patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
            command: (*command).to_owned(),
            after: Vec::new(),
        },
        builtin: true,
        program: Some(program),
        due: None,
    };
    RULES.iter().map(trigger).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{matcher, matches};
    use super::*;

    #[test]
    fn patterns_match_what_they_mean() {
        for (name, path, expected) in [
            ("ldconfig", "usr/lib/libz.so.1", true),
            ("ldconfig", "usr/lib/x86_64-linux-gnu/libz.so", true),
            ("ldconfig", "lib64/ld-linux-x86-64.so.2", true),
            ("ldconfig", "usr/lib/python3/site/x.so", false),
            ("ldconfig", "usr/bin/z", false),
            ("mime", "usr/share/mime/packages/a.xml", true),
            ("mime", "usr/share/mime/mime.cache", false),
            ("glib-schemas", "usr/share/glib-2.0/schemas/org.a.gschema.xml", true),
            ("desktop", "usr/share/applications/a.desktop", true),
            ("desktop", "usr/share/applications/kde/a.desktop", true),
            ("desktop", "usr/share/applications/mimeinfo.cache", false),
            ("icons", "usr/share/icons/hicolor/48x48/apps/a.png", true),
            ("icons", "usr/share/icons/hicolor/index.theme", true),
            ("icons", "usr/share/icons/hicolor/icon-theme.cache", false),
            ("fonts", "usr/share/fonts/a/b.ttf", true),
            ("modules", "usr/lib/modules/6.1-x/kernel/fs/a.ko.xz", true),
            ("modules", "lib/modules/6.1-x/extra/a.ko", true),
            ("modules", "usr/lib/modules/6.1-x/modules.dep", false),
        ] {
            let rule = all().into_iter().find(|trigger| trigger.rule.name == name).unwrap().rule;
            assert_eq!(matches(&matcher(&rule.patterns).unwrap(), path.as_bytes()), expected, "{name} {path}");
        }
    }
}
