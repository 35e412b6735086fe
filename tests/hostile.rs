// tests/hostile.rs
//! What a hostile step may leave as its output: contained, named safely, and nothing of the host in the package.

use crate::support::each_identity;
use crate::support::recipe::plain;

#[test]
fn strange_outputs_are_packaged_as_they_are_or_refused_by_name() {
    each_identity(|env| {
        let links = "mkdir -p \"$DESTDIR/usr\"; cd \"$DESTDIR/usr\"; ln -s a b; ln -s b a; ln -s / top; ln -s .. up; \
            ln -s /etc/passwd users; ln -s ../../../../../../../../etc/shadow secret; echo x > x";
        env.write("links/recipe.toml", plain("links", links));
        env.cook(["cook", "links"]).success();
        env.root_command(["install", "dist/links-1.0-1.x86_64.ccs", "--yes"]).success();
        let listing = env.listing(&env.root().join("usr")).join("\n");
        assert!(listing.contains("secret") && !listing.contains("root:"), "{listing}");

        let whole = "rm -rf \"$DESTDIR\" 2>/dev/null; mkfifo \"$DESTDIR/pipe\"; touch \"$DESTDIR/x\"";
        env.write("pipe/recipe.toml", plain("pipe", whole));
        env.cook(["cook", "pipe"]).exits(5).says(&["pipe"]);

        // Names that would speak to a terminal.
        let names =
            "mkdir -p \"$DESTDIR/usr\"; cd \"$DESTDIR/usr\"; touch \"$(printf 'a\\nb\\033[2Jc')\" x; chmod 6777 *";
        env.write("names/recipe.toml", plain("names", names));
        let run = env.cook(["cook", "names", "--verbose"]);
        assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{:?} {:?}", run.stdout, run.stderr);
        // Whatever modes a step sets, nothing of it is left where others could reach it.
        let leaves = "mkdir -p \"$DESTDIR/usr\"; echo x > \"$DESTDIR/usr/x\"; pwd -P; chmod 777 /build /dest";
        env.write("leaves/recipe.toml", plain("leaves", leaves));
        env.cook(["cook", "leaves"]).success();
        let left = std::fs::read_dir(env.store().join("tmp")).unwrap().count();
        assert_eq!(left, 0, "something is left behind");
        env.cook(["store", "verify"]).success();
    });
}
