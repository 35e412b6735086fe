// sandbox/src/hint.rs
//! What on a host is known to refuse a sandbox, and the switch that lets it through.

use std::fs;

use crate::report::Stage;

fn number(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Why namespaces cannot be made, as far as the host says.
pub(crate) fn for_clone(errno: i32) -> Option<String> {
    let text = match errno {
        libc::ENOSYS => {
            "this kernel, or the seccomp filter of the container around us, has no clone3: Linux 5.12 is needed; \
             in Docker or Podman give `--security-opt seccomp=unconfined`"
        }
        libc::EINVAL => "this kernel lacks a kind of namespace: Linux 5.12 with user namespaces is needed",
        libc::ENOSPC | libc::EUSERS => "too many user namespaces: raise `sysctl user.max_user_namespaces`",
        libc::EPERM if number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) => {
            "user namespaces are off for users: `sysctl kernel.unprivileged_userns_clone=1`"
        }
        libc::EPERM if apparmor_restricts() => APPARMOR,
        libc::EPERM => {
            "user namespaces are refused here: in a container, its seccomp profile does it \
             (`--security-opt seccomp=unconfined`), in a chroot the kernel itself"
        }
        libc::EAGAIN => "too many processes of this user: see `ulimit -u`",
        libc::ENOMEM => "the machine has no memory left",
        _ => return None,
    };
    Some(text.to_owned())
}

const APPARMOR: &str = "AppArmor takes the rights away inside user namespaces: \
    `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or a profile with `userns,` for this program";

fn apparmor_restricts() -> bool {
    number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1)
}

/// Why the id maps cannot be written.
pub(crate) fn for_maps() -> Option<String> {
    apparmor_restricts().then(|| APPARMOR.to_owned())
}

/// Why a stage inside failed.
pub(crate) fn for_stage(stage: u32, errno: i32) -> Option<String> {
    if stage == Stage::Proc as u32 && errno == libc::EPERM {
        return Some(
            "the container around us covers parts of /proc, so the kernel gives us none of our own: \
             in Podman or Docker give `--security-opt unmask=ALL` or `--security-opt systempaths=unconfined`"
                .to_owned(),
        );
    }
    if matches!(errno, libc::EPERM | libc::EACCES) && apparmor_restricts() {
        return Some(APPARMOR.to_owned());
    }
    (errno == libc::ENOSYS).then(|| "this kernel lacks the call: Linux 5.12 is needed".to_owned())
}
