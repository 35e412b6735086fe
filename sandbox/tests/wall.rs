// sandbox/tests/wall.rs
//! What a command inside can and cannot do, tried for real: as whoever runs the tests, root or not.
//!
//! `hostile.c` is compiled by the host's compiler and tries one thing per subcommand. Where the host gives
//! no sandbox, every test says `skipped: …`, and fails if `CONARY_FORBID_SKIPS=1`.

mod common;

#[path = "wall/contained.rs"]
mod contained;
#[path = "wall/denied.rs"]
mod denied;
#[path = "wall/fixed.rs"]
mod fixed;
#[path = "wall/given.rs"]
mod given;
#[path = "wall/ready.rs"]
mod ready;
#[path = "wall/refused.rs"]
mod refused;
#[path = "wall/restricted.rs"]
mod restricted;
#[path = "wall/roots.rs"]
mod roots;
