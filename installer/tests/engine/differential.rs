// installer/tests/engine/differential.rs
//! The same tree installed by others and by Conary: paths, kinds, modes, owners, links and contents must be equal.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::lab::*;

/// Files, a set-id program, links of both kinds, empty and closed directories, names that need quoting.
fn sample() -> Recipe {
    package("sample", "1-1")
        .file_in("runtime", "usr/bin/tool", "#!/bin/sh\nexit 0\n", 0o755)
        .file_in("runtime", "usr/bin/raised", "set-id", 0o4755)
        .hardlink("usr/bin/tool-twin", "usr/bin/tool")
        .symlink("usr/bin/alias", "tool")
        .symlink("usr/lib/dangling", "/nowhere/at all")
        .file("usr/share/sample/with space", "1")
        .file("usr/share/sample/-leading", "2")
        .file("usr/share/sample/\u{e9}t\u{e9}", "3")
        .file("usr/share/sample/Case", "upper")
        .file("usr/share/sample/case", "lower")
        .file_in("runtime", "usr/share/sample/closed", "secret", 0o600)
        .file("usr/share/sample/empty", "")
        .directory("usr/share/sample/nothing in it", 0o755)
        .directory("usr/share/sample/private", 0o700)
        .file("etc/sample.conf", "setting = 1\n")
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn is_here(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A listing without what a package manager keeps for itself, with the number of names of each file.
fn content(root: &Path) -> Vec<String> {
    let own = |line: &String| !line.starts_with("var ") && !line.starts_with("var/lib");
    let count = |line: String| {
        let found =
            line.split(" 100").next().map(|path| root.join(path)).and_then(|path| fs::symlink_metadata(path).ok());
        let names = found.filter(fs::Metadata::is_file).map_or(0, |found| found.nlink());
        // A link into Conary's store is a name more, and says nothing about the tree.
        if line.starts_with("usr/bin/tool") { format!("{line} ({} names)", names.min(2)) } else { line }
    };
    listing(root).into_iter().filter(own).map(count).collect()
}

/// Installs the sample with Conary; returns the laboratory and the tree as others get it.
fn installed() -> (Lab, std::path::PathBuf) {
    let lab = Lab::new();
    lab.install(&lab.cook(&sample()));
    let tree = lab.top.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o755)).unwrap();
    for top in ["usr", "etc"] {
        run(Command::new("cp").arg("-a").arg(lab.root().join(top)).arg(&tree));
    }
    (lab, tree)
}

#[test]
fn dpkg_makes_the_same_of_it() {
    if !is_root() {
        not_for_us("dpkg changes owners");
        return;
    }
    if !is_here("dpkg") {
        skip("dpkg is not installed");
        return;
    }
    let (lab, tree) = installed();
    fs::create_dir(tree.join("DEBIAN")).unwrap();
    let control =
        "Package: sample\nVersion: 1-1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: a sample\n";
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    fs::write(tree.join("DEBIAN/conffiles"), "/etc/sample.conf\n").unwrap();
    let package = lab.top.path().join("sample.deb");
    run(Command::new("dpkg-deb").arg("-b").arg(&tree).arg(&package));
    let root = lab.top.path().join("dpkg-root");
    for directory in ["updates", "info"] {
        fs::create_dir_all(root.join("var/lib/dpkg").join(directory)).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    run(Command::new("dpkg").arg("--root").arg(&root).arg("--log=/dev/null").arg("-i").arg(&package));
    assert_eq!(content(&lab.root()), content(&root));
}

#[test]
fn pacman_makes_the_same_of_it() {
    if !is_root() {
        not_for_us("pacman changes owners");
        return;
    }
    if !is_here("pacman") || !is_here("tar") {
        skip("pacman is not installed");
        return;
    }
    let (lab, tree) = installed();
    let info = "pkgname = sample\npkgbase = sample\npkgver = 1-1\npkgdesc = a sample\nsize = 1\narch = any\nbuilddate = 1\npackager = nobody\nbackup = etc/sample.conf\n";
    fs::write(tree.join(".PKGINFO"), info).unwrap();
    let package = lab.top.path().join("sample-1-1-any.pkg.tar.gz");
    run(Command::new("tar").arg("-C").arg(&tree).arg("-czf").arg(&package).args([".PKGINFO", "usr", "etc"]));
    let root = lab.top.path().join("pacman-root");
    fs::create_dir_all(root.join("var/lib/pacman")).unwrap();
    let config = lab.top.path().join("pacman.conf");
    fs::write(&config, "[options]\nArchitecture = auto\nSigLevel = Never\nLocalFileSigLevel = Never\n").unwrap();
    run(Command::new("pacman")
        .args(["-U", "--noconfirm", "--noscriptlet", "--config"])
        .arg(&config)
        .arg("--root")
        .arg(&root)
        .arg("--logfile=/dev/null")
        .arg(&package));
    assert_eq!(content(&lab.root()), content(&root));
}

/// Lists a tree as the files section of a spec does, each path quoted.
fn files_section(tree: &Path) -> String {
    let found = Command::new("find").arg(tree).args(["-mindepth", "1", "-printf", "%y %P\\n"]).output().unwrap();
    let mut section = String::new();
    for line in String::from_utf8(found.stdout).unwrap().lines() {
        let (kind, path) = line.split_once(' ').unwrap();
        let prefix = if kind == "d" { "%dir " } else { "" };
        writeln!(section, "{prefix}\"/{path}\"").unwrap();
    }
    section
}

#[test]
fn rpm_makes_the_same_of_it() {
    if !is_root() {
        not_for_us("rpm changes owners");
        return;
    }
    if !is_here("rpm") || !is_here("rpmbuild") {
        skip("rpm is not installed");
        return;
    }
    let (lab, tree) = installed();
    let top = lab.top.path().join("rpmbuild");
    fs::create_dir(&top).unwrap();
    let spec = lab.top.path().join("sample.spec");
    // Nothing is stripped, compiled or compressed, and no requirement is looked for: the tree is the tree.
    let text = format!(
        "%define __os_install_post %{{nil}}\n%define debug_package %{{nil}}\n\
         Name: sample\nVersion: 1\nRelease: 1\nSummary: a sample\nLicense: none\nBuildArch: noarch\nAutoReqProv: no\n\
         %description\na sample\n%install\nmkdir -p %{{buildroot}}\ncp -a {}/. %{{buildroot}}/\n%files\n{}",
        tree.display(),
        files_section(&tree)
    );
    fs::write(&spec, text).unwrap();
    let topdir = format!("_topdir {}", top.display());
    run(Command::new("rpmbuild").args(["-bb", "--quiet", "--define", &topdir]).arg(&spec));
    let root = lab.top.path().join("rpm-root");
    fs::create_dir(&root).unwrap();
    run(Command::new("rpm")
        .args(["--nodeps", "--noscripts", "--notriggers", "--nosignature", "--dbpath", "/var/lib/rpm", "--root"])
        .arg(&root)
        .arg("--install")
        .arg(top.join("RPMS/noarch/sample-1-1.noarch.rpm")));
    assert_eq!(content(&lab.root()), content(&root));
}
