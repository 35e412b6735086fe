// tests/hooks.rs
//! What a recipe declares under `[hooks]`: cooked, installed, upgraded and removed.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::{TestEnv, each_identity};

const DAEMON: &str = r#"
[package]
name = "daemon"
version = "VERSION"

[build]
install = '''
mkdir -p "$DESTDIR/usr/bin" "$DESTDIR/usr/lib/systemd/system"
echo %(version)s > "$DESTDIR/usr/bin/daemon"
printf '[Install]\nWantedBy=multi-user.target\n' > "$DESTDIR/usr/lib/systemd/system/daemon.service"
'''

[hooks]
tmpfiles = ["d /run/%(name)s 0755 daemon daemon -"]
services = ["%(name)s.service"]
sysctl = { "net.core.somaxconn" = "1024" }
groups = [{ name = "watchers" }]
users = [{ name = "daemon", home = "/var/lib/daemon", shell = "SHELL", groups = ["watchers"] }]
directories = [{ path = "/var/lib/daemon", mode = "0750", owner = "daemon", group = "watchers" }]
alternatives = [{ link = "/usr/bin/server", target = "/usr/bin/daemon", priority = 10 }]

[[outputs]]
name = "watchers"
[outputs.hooks]
groups = [{ name = "watchers", id = 777 }]
"#;

/// Cooks the recipe and returns its two package files.
fn cook(env: &TestEnv, version: &str, shell: &str) -> Vec<String> {
    env.write("daemon/recipe.toml", DAEMON.replace("VERSION", version).replace("SHELL", shell));
    let json = env.cook(["cook", "daemon", "--json"]).success().json();
    let cooked = json["cooked"].as_array().unwrap().iter();
    cooked.map(|one| one["package"].as_str().unwrap().to_owned()).collect()
}

fn read(env: &TestEnv, path: &str) -> String {
    fs::read_to_string(env.root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn hooks_are_cooked_installed_upgraded_and_removed() {
    each_identity(|env| {
        let packages = cook(env, "1", "/bin/sh");
        env.root_command(["install", &packages[0], "--yes"]).success();
        assert_eq!(read(env, "etc/passwd"), "daemon:!*:999:999::/var/lib/daemon:/bin/sh\n");
        assert_eq!(read(env, "etc/group"), "daemon:x:999:\nwatchers:x:998:daemon\n");
        assert_eq!(read(env, "usr/lib/tmpfiles.d/daemon.conf"), "d /run/daemon 0755 daemon daemon -\n");
        assert_eq!(read(env, "usr/lib/sysctl.d/daemon.conf"), "net.core.somaxconn = 1024\n");
        let server = fs::read_link(env.root().join("usr/bin/server")).unwrap();
        assert_eq!(server.to_str(), Some("/usr/bin/daemon"));
        let link = "etc/systemd/system/multi-user.target.wants/daemon.service";
        assert_eq!(
            fs::read_link(env.root().join(link)).unwrap().to_str(),
            Some("/usr/lib/systemd/system/daemon.service")
        );
        let found = fs::metadata(env.root().join("var/lib/daemon")).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o750);
        if found.uid() != fs::metadata(env.root()).unwrap().uid() {
            assert_eq!((found.uid(), found.gid()), (999, 998));
        }
        let shown = env.root_command(["show", "daemon"]).success();
        assert!(shown.stdout.contains("/usr/bin/server -> /usr/bin/daemon (10)"), "{}", shown.stdout);

        let newer = cook(env, "2", "/bin/zsh");
        env.root_command(["install", &newer[0], "--yes"]).success();
        assert_eq!(read(env, "etc/passwd"), "daemon:!*:999:999::/var/lib/daemon:/bin/zsh\n");
        env.root_command(["verify"]).success();

        // The other output holds the group alone.
        env.root_command(["install", &newer[1], "--yes"]).success();
        env.root_command(["remove", "daemon", "--yes"]).success();
        assert_eq!(read(env, "etc/group"), "watchers:x:998:\n");
        env.root_command(["remove", "watchers", "--yes"]).success();
        let left: Vec<_> = fs::read_dir(env.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["var"], "all of it is gone");
        env.root_command(["rollback", "--yes"]).success();
        assert_eq!(read(env, "etc/group"), "watchers:x:777:\n");
    });
}

#[test]
fn a_service_without_its_unit_is_refused() {
    let env = TestEnv::new();
    env.write(
        "daemon/recipe.toml",
        DAEMON.replace("VERSION", "1").replace("SHELL", "/bin/sh").replace("%(name)s.service", "other.service"),
    );
    let refused = env.cook(["cook", "daemon"]).exits(5);
    assert!(refused.stderr.contains("the package has no unit other.service"), "{}", refused.stderr);
}
