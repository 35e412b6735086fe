// tests/enter.rs
//! `conary enter`: back into the sandbox of a failed build, with a command or on a terminal.

use crate::support::each_identity;

const RECIPE: &str = "[package]\nname = \"x\"\nversion = \"1.0\"\n\n[build]\nenvironment = { OWN = \"value\" }\n\
    make = '''\necho made > made\nexit 3\n'''\ninstall = 'true'\n\n[source]\npath = \"src\"\n";

#[test]
fn a_failed_sandbox_can_be_entered() {
    each_identity(|env| {
        env.write("x/recipe.toml", RECIPE);
        env.write("x/src/file", "source\n");
        let store = env.store();
        let store = store.to_str().unwrap();
        let enter = |words: &[&str]| env.conary(["enter", "x", "--store", store, "--"].iter().chain(words).copied());
        env.cook(["fetch", "x"]).success();
        enter(&["true"]).exits(10).says(&["nothing is kept", "conary cook x --keep-failed"]);
        env.cook(["cook", "x", "--keep-failed"]).exits(5).says(&["conary enter"]);
        let look =
            "cat made file; echo $OWN $USER; id -u; cat /steps/make; uname -r; ls /dest; echo more > more; exit 7";
        let run = enter(&["sh", "-c", look]).exits(7);
        assert_eq!(run.stdout, "made\nsource\nvalue builder\n1000\necho made > made\nexit 3\n6.1.0\n");
        assert_eq!(enter(&["cat", "more"]).success().stdout, "more\n");
        // It is the wall of a build.
        enter(&["sh", "-c", "echo > /usr/file"]).exits(2);
        env.cook(["enter", "x"]).exits(2).says(&["a shell wants a terminal", "conary enter x -- ls"]);
        // A terminal of its own, not the caller's.
        let typed = "(echo 'echo $((6 * 7)) $OWN; stty size; test -t 0 && echo own; exit 9'; sleep 1) | \
            script -qefc \"stty cols 77 rows 33; exec conary enter x --store $0\" /dev/null";
        let mut command = env.shell(typed);
        command.arg(store).env("SHELL", "/bin/sh");
        let run = env.run(command).exits(9);
        let shown = run.stdout.replace('\r', "");
        for line in ["42 value\n", "33 77\n", "own\n"] {
            assert!(shown.contains(line), "{line:?} is not in {shown:?}");
        }
        // It has the size of the caller's for as long as it lasts, and is told of a change.
        let typed = "(echo \"trap 'echo told' WINCH; sleep 2; stty size; exit 9\"; sleep 3) | \
            script -qefc \"stty cols 77 rows 33; (sleep 1; stty cols 91 rows 20 < /dev/tty) & exec conary enter x --store $0\" /dev/null";
        let mut command = env.shell(typed);
        command.arg(store).env("SHELL", "/bin/sh");
        let run = env.run(command).exits(9);
        assert!(run.stdout.contains("told") && run.stdout.contains("20 91"), "{}", run.stdout);
    });
}

#[test]
fn a_shell_before_the_first_step() {
    each_identity(|env| {
        let recipe = RECIPE.replace("path = \"src\"", "path = \"src\"\n[patches]\nfiles = [{ file = \"p.diff\" }]");
        env.write("x/recipe.toml", recipe);
        env.write("x/src/file", "source\n");
        env.write("x/p.diff", "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-source\n+patched\n");
        env.cook(["cook", "x", "--shell"]).exits(2).says(&["a shell wants a terminal"]);
        env.cook(["cook", "x", "--shell", "--json"]).exits(2);
        let typed = "(echo 'cat file; ls; echo $OWN $((6 * 7)) $USER $DESTDIR; pwd; sh -e /steps/make; cat made; exit 7'; sleep 2) | \
            script -qefc \"exec conary cook x --shell --store $0\" /dev/null";
        let store = env.store();
        let mut command = env.shell(typed);
        command.arg(store.to_str().unwrap()).env("SHELL", "/bin/sh");
        let run = env.run(command).exits(7);
        let shown = run.stdout.replace('\r', "");
        for line in ["patched\nfile\n", "value 42 builder /dest\n", "/build/x-1.0\n", "made\n"] {
            assert!(shown.contains(line), "{line:?} is not in {shown:?}");
        }
        assert!(shown.contains("Entering x before its first step"), "{shown}");
        // Nothing of it is left, and it is no result.
        assert_eq!(std::fs::read_dir(store.join("tmp")).unwrap().count(), 0);
        env.cook(["why", "x"]).success().prints(&["stale"]);
    });
}
