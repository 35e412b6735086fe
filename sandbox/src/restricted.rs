// sandbox/src/restricted.rs
//! What a command may read and write at [`Level::Restricted`](crate::Level::Restricted): the plan's own places, and the system's.
//!
//! Landlock holds it to that, and the filter to no sockets but connected pairs. There is no root of its own: paths are the host's.

use std::path::Path;

use crate::error::SandboxError;
use crate::layout::{Layout, text};
use crate::operation::WritableKind;
use crate::plan::{Plan, RootView};

/// Directories of the host that are read: programs, libraries, settings, and what the kernel tells of processes.
const SYSTEM: [&str; 9] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc"];
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Capabilities that root's command keeps, as bits: `CHOWN`, `DAC_OVERRIDE`, `FOWNER` and `FSETID`, for its places belong to the build.
pub(crate) const KEPT: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4;

/// Lists the places. What is not there is left out.
///
/// # Errors
/// [`SandboxError::Plan`] for a root that is not the host's alone: without namespaces there is no other.
pub(crate) fn layout(plan: &Plan) -> Result<Layout, SandboxError> {
    if !matches!(&plan.root, RootView::Host { overlays } if overlays.is_empty()) {
        return Err(SandboxError::Plan { what: "a root of its own takes namespaces".to_owned() });
    }
    let mut layout = Layout::default();
    let read = plan.binds.iter().filter(|bind| !bind.writable).map(|bind| bind.source.as_path());
    for place in SYSTEM.map(Path::new).into_iter().chain(read).filter(|place| place.is_dir()) {
        layout.readable.push(text(place.as_os_str().as_encoded_bytes())?);
    }
    for bind in plan.binds.iter().filter(|bind| bind.writable) {
        let kind = if bind.source.is_dir() { WritableKind::Tree } else { WritableKind::File };
        layout.writable(&bind.source.to_string_lossy(), kind)?;
    }
    for device in DEVICES.into_iter().filter(|device| Path::new(device).exists()) {
        layout.writable(device, WritableKind::File)?;
    }
    Ok(layout)
}
