//! Tap interfaces: Ethernet cards of the host whose cable is a file (Linux, Documentation/networking/tuntap.rst).

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

/// `TUN` of `linux/if_tun.h`.
const TUN: u32 = 0x54;
ioctl_iow_nr!(TUNSETIFF, TUN, 202, libc::c_int);

/// Takes an interface that is there already. A read gives a frame and a write takes one; neither blocks.
pub fn open_tap(name: &str) -> Result<File, Error> {
    let c_name = CString::new(name).unwrap_or_default();
    // SAFETY: it reads a string that ends with a zero and lives through the call.
    let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
    if index == 0 || name.len() >= libc::IFNAMSIZ {
        // The request would make one.
        return Err(Error::new(ErrorKind::NotFound, "there is no such interface"));
    }
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: all of `ifreq` are numbers and pointers that nobody follows, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: `file` is /dev/net/tun, and TUNSETIFF reads an `ifreq`, which lives through the call.
    if unsafe { ioctl_with_ref(&file, TUNSETIFF(), &request) } == 0 {
        Ok(file)
    } else {
        Err(Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_not_made() {
        for name in ["trapline-none", "", "much-too-long-a-name", "../lo", "lo\0"] {
            for _ in 0..2 {
                assert_eq!(open_tap(name).unwrap_err().kind(), ErrorKind::NotFound, "{name}");
            }
        }
        assert!(open_tap("lo").is_err(), "one that is no tap");
    }
}
