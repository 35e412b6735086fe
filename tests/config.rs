// tests/config.rs
//! Configuration files on the command line: cooked, edited, upgraded, decided about.

use std::fs;
use std::path::PathBuf;

use crate::support::{TestEnv, each_identity};

/// A package with configuration outside of `/etc`.
fn cooked(env: &TestEnv, version: &str) -> PathBuf {
    let recipe = format!(
        "[package]\nname = \"tool\"\nversion = \"{version}\"\n\n[build]\ninstall = '''\n\
         mkdir -p \"$DESTDIR/usr/share/tool\" \"$DESTDIR/etc\"\n\
         printf 'a\\nversion {version}\\nz\\n' > \"$DESTDIR/usr/share/tool/site.conf\"\n\
         printf 'x {version}\\n' > \"$DESTDIR/usr/share/tool/state\"\n\
         printf 'x\\n' > \"$DESTDIR/etc/tool.conf\"\n'''\n\n\
         [config]\nfiles = [\"/usr/share/tool/*.conf\"]\nnoreplace = [\"/usr/share/tool/state\"]\n"
    );
    env.write("tool/recipe.toml", recipe);
    let json = env.cook(["cook", "tool", "--json"]).success().json();
    PathBuf::from(json["cooked"][0]["package"].as_str().unwrap())
}

#[test]
fn an_edit_is_kept_and_decided_about() {
    each_identity(|env| {
        let [one, two] = ["1", "2"].map(|version| cooked(env, version));
        let file = env.root().join("usr/share/tool/site.conf");
        let install = |package: &PathBuf| env.root_command(["install", package.to_str().unwrap(), "--yes"]).success();
        install(&one);
        env.root_command(["config", "list"]).success().prints(&[]);
        env.root_command(["config", "list", "--all"]).success().prints(&["/etc/tool.conf", "unedited", "site.conf"]);
        fs::write(&file, "a\nmine\nz\n").unwrap();
        install(&two);
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nmine\nz\n");
        assert_eq!(fs::read_to_string(env.root().join("usr/share/tool/state")).unwrap(), "x 1\n", "noreplace");

        env.root_command(["config", "list"]).success().prints(&["/usr/share/tool/site.conf", "edited", ".conary-new"]);
        let json = env.root_command(["config", "list", "--json"]).success().json();
        assert_eq!(json["files"][0]["beside"][0], "/usr/share/tool/site.conf.conary-new");
        let diff = env.root_command(["config", "diff", "/usr/share/tool/site.conf"]).success();
        diff.prints(&["-mine", "+version 2", "--- /usr/share/tool/site.conf"]);

        let path = "/usr/share/tool/site.conf";
        env.root_command(["config", "accept", path, "--dry-run"]).success().prints(&["replace", "remove"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nmine\nz\n");
        env.root_command(["config", "accept", path, "--yes"]).success().says(&["Accepted /usr/share/tool/site.conf"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nversion 2\nz\n");
        env.root_command(["config", "backups", path]).success().prints(&["3", path]);
        env.root_command(["config", "restore", path, "--from", "3", "--yes"]).success();
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nmine\nz\n");
        env.root_command(["config", "restore", path, "--yes"]).success();
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nversion 2\nz\n");
        env.root_command(["history"]).success().prints(&["config accept"]);
        env.root_command(["state", "list"]).success().prints(&["config accept"]);
        env.root_command(["config", "keep", path, "--yes"]).exits(10);
        env.root_command(["config", "restore", "/etc/passwd", "--yes"]).exits(10);
        env.root_command(["remove", "tool", "--yes"]).success();
        assert!(!file.exists());
    });
}
