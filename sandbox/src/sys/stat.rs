// sandbox/src/sys/stat.rs
//! What the kernel says of an open file, in the forms in which programs ask for it.
#![allow(unsafe_code, reason = "the raw calls of the kernel live here, one per function")]

use std::os::fd::RawFd;

use libc::{c_int, c_uint};

use super::{Result, check};

/// What the kernel says of a file, in the bytes in which it says it.
pub struct RawStat([u8; RAW_STAT]);

#[cfg(target_arch = "x86_64")]
const RAW_STAT: usize = 144;
#[cfg(not(target_arch = "x86_64"))]
const RAW_STAT: usize = 128;
/// Where mode, owner and group stand.
#[cfg(target_arch = "x86_64")]
const RAW_PLACES: [usize; 3] = [24, 28, 32];
#[cfg(not(target_arch = "x86_64"))]
const RAW_PLACES: [usize; 3] = [16, 24, 28];

impl RawStat {
    fn bytes_at<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[at..at + N]);
        bytes
    }

    /// Device and inode.
    pub fn inode(&self) -> (u64, u64) {
        (u64::from_ne_bytes(self.bytes_at(0)), u64::from_ne_bytes(self.bytes_at(8)))
    }

    /// Kind and permission bits.
    pub fn mode(&self) -> u32 {
        u32::from_ne_bytes(self.bytes_at(RAW_PLACES[0]))
    }

    /// The owner.
    pub fn uid(&self) -> u32 {
        u32::from_ne_bytes(self.bytes_at(RAW_PLACES[1]))
    }

    /// Puts in another owner and group.
    pub fn set_owner(&mut self, uid: u32, gid: u32) {
        self.0[RAW_PLACES[1]..RAW_PLACES[1] + 4].copy_from_slice(&uid.to_ne_bytes());
        self.0[RAW_PLACES[2]..RAW_PLACES[2] + 4].copy_from_slice(&gid.to_ne_bytes());
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Looks at an open file, which may be open for its path only.
pub fn raw_stat(fd: RawFd) -> Result<RawStat> {
    let mut about = RawStat([0; RAW_STAT]);
    // SAFETY: an empty path is read, and one structure of the kernel's is written, which has this size.
    check(unsafe { libc::syscall(libc::SYS_newfstatat, fd, c"".as_ptr(), about.0.as_mut_ptr(), libc::AT_EMPTY_PATH) })?;
    Ok(about)
}

/// The same in the newer form, which is 256 bytes long.
pub fn raw_statx(fd: RawFd, flags: c_int, mask: c_uint) -> Result<[u8; 256]> {
    let mut about = [0_u8; 256];
    let flags = flags | libc::AT_EMPTY_PATH;
    // SAFETY: an empty path is read, and one structure of the kernel's is written, which has this size.
    check(unsafe { libc::syscall(libc::SYS_statx, fd, c"".as_ptr(), flags, mask, about.as_mut_ptr()) })?;
    Ok(about)
}

/// Bytes that tell an open file from every other that had or will have its inode number: the handle that the file
/// system has for it, and where it has none, when it was made.
pub fn file_mark(fd: RawFd) -> Vec<u8> {
    #[repr(C)]
    struct Handle {
        length: c_uint,
        kind: c_int,
        bytes: [u8; 128],
    }
    let mut handle = Handle { length: 128, kind: 0, bytes: [0; 128] };
    let mut mount: c_int = 0;
    // SAFETY: an empty path is read; the kernel writes at most as many bytes as `length` says there are, and one int.
    let made = check(unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            fd,
            c"".as_ptr(),
            &raw mut handle,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    });
    match made {
        Ok(_) => handle.bytes[..(handle.length as usize).min(128)].to_vec(),
        // Bytes 80 to 96 are the time at which it was made.
        Err(_) => raw_statx(fd, 0, 0x800).map_or_else(|_| Vec::new(), |about| about[80..96].to_vec()),
    }
}
