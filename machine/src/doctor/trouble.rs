//! Why KVM cannot be used, and what to do about it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Something that keeps Trapline from recording at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What is wrong, as the end of a sentence.
    pub what: String,
    /// What to do about it, whole sentences.
    pub remedy: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. What to try: {}", self.what, self.remedy)
    }
}

const DEVICE: &str = "/dev/kvm";

impl Trouble {
    /// Why /dev/kvm did not open.
    pub(crate) fn of_open(errno: i32) -> Self {
        let error = std::io::Error::from_raw_os_error(errno);
        let remedy = match errno {
            libc::ENOENT => no_device(&Surroundings::look()),
            libc::EACCES => no_permission(),
            // Unix permissions say EACCES; EPERM is the device controller of a container or a security module.
            libc::EPERM => "Something above file permissions forbids it, usually a container: start it with \
                 `--device /dev/kvm`; with systemd or Kubernetes, allow the device to the unit or the pod."
                .to_owned(),
            libc::ENODEV | libc::ENXIO => format!(
                "The device node exists, but no KVM module stands behind it. {}",
                no_device(&Surroundings { container: false, ..Surroundings::look() })
            ),
            libc::EBUSY => {
                "Another hypervisor holds the processor's virtualization: stop it (VirtualBox or VMware, \
                 for example)."
                    .to_owned()
            }
            libc::EMFILE | libc::ENFILE => {
                "Too many files are open: raise the limit (`ulimit -n`).".to_owned()
            }
            _ => "Look at `dmesg | grep -i kvm`, and try `trapline doctor` as root.".to_owned(),
        };
        Self { what: format!("{DEVICE} does not open: {error}"), remedy }
    }

    /// /dev/kvm is not KVM.
    pub(crate) fn of_version(version: i32) -> Self {
        Self {
            what: format!("{DEVICE} speaks KVM API version {version}, not 12"),
            remedy: "Every Linux since 2007 speaks version 12: this is another driver, or not KVM at all."
                .to_owned(),
        }
    }

    /// KVM opens, but even the first guest does not run.
    pub(super) fn of_first_guest(error: &str) -> Self {
        Self {
            what: format!("a guest of a few instructions does not run: {error}"),
            remedy: "Look at `dmesg | grep -i kvm`. If this machine is itself virtual, its host must give it nested \
                 virtualization that works; if another hypervisor is running, stop it."
                .to_owned(),
        }
    }

    /// KVM works, but lacks what recording cannot do without.
    pub(super) fn of_missing(capabilities: &[&str]) -> Self {
        Self {
            what: format!("this KVM lacks {}", capabilities.join(", ")),
            remedy: "A newer kernel has it: Linux 5.10 or later.".to_owned(),
        }
    }
}

/// What the processor and the system look like from here.
#[derive(Debug)]
struct Surroundings {
    container: bool,
    /// Module that fits the processor, where it shows virtualization.
    module: Option<&'static str>,
    /// This machine is itself virtual.
    virtual_machine: bool,
}

impl Surroundings {
    fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let has = |flag: &str| cpuinfo.split_whitespace().any(|w| w == flag);
        Self {
            container: Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists(),
            module: if has("vmx") {
                Some("kvm_intel")
            } else if has("svm") {
                Some("kvm_amd")
            } else {
                None
            },
            virtual_machine: has("hypervisor"),
        }
    }
}

fn no_device(around: &Surroundings) -> String {
    match around {
        Surroundings { container: true, .. } => "This looks like a container: start it with `--device /dev/kvm`. If its \
             host has no /dev/kvm either, run `trapline doctor` there."
            .to_owned(),
        Surroundings { module: Some(module), .. } => format!(
            "Load the module: `sudo modprobe {module}`. If that fails, `dmesg | grep -i kvm` says why; \"disabled by \
             BIOS\" means that virtualization is switched off in the firmware's setup."
        ),
        Surroundings { virtual_machine: true, .. } => "This is a virtual machine without nested virtualization. Switch \
             it on for this machine at its host: with KVM `kvm_intel.nested=1` or `kvm_amd.nested=1` and `-cpu host`; \
             with Hyper-V `Set-VMProcessor -ExposeVirtualizationExtensions $true`; with VMware \"Virtualize Intel \
             VT-x/EPT or AMD-V/RVI\"; at a cloud provider, choose a machine type that offers it. Or run the software \
             lab, tests/lab/kvm-lab.sh, which needs no KVM."
            .to_owned(),
        _ => "This processor shows no virtualization (neither vmx nor svm in /proc/cpuinfo): switch it on in the \
             firmware's setup (VT-x, AMD-V or SVM mode)."
            .to_owned(),
    }
}

fn no_permission() -> String {
    let group = fs::metadata(DEVICE).ok().and_then(|m| group_name(m.gid()));
    match group.as_deref() {
        Some("root") | None => "Its group has no name that you could join: give yourself access with \
             `sudo setfacl -m u:$USER:rw /dev/kvm`, or run as root."
            .to_owned(),
        Some(group) => format!(
            "Join its group: `sudo usermod -aG {group} $USER`, then log in again (`newgrp {group}` for this shell). \
             In a container, add `--group-add` with that group's number."
        ),
    }
}

fn group_name(gid: u32) -> Option<String> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_remedy() {
        for errno in
            [libc::ENOENT, libc::EACCES, libc::EPERM, libc::ENODEV, libc::EBUSY, libc::EMFILE, libc::EIO]
        {
            let trouble = Trouble::of_open(errno);
            assert!(trouble.what.contains(DEVICE));
            assert!(trouble.remedy.len() > 20, "{trouble}");
        }
    }

    #[test]
    fn a_virtual_machine_without_nesting_is_told_apart_from_a_missing_module() {
        let around = |module, virtual_machine| Surroundings { container: false, module, virtual_machine };
        assert!(no_device(&around(Some("kvm_amd"), true)).contains("modprobe kvm_amd"));
        assert!(no_device(&around(None, true)).contains("nested"));
        assert!(no_device(&around(None, false)).contains("firmware"));
    }
}
