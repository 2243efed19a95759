//! Saving state, sharing registers, logging writes.

use super::guest::{Guest, TEXT, with_end};
use super::lab::Lab;
use super::probe::{Answer, Answered, Probe};
use super::stop::Stop;
use super::tables::Mode;
use crate::error::{MachineError, refused};
use crate::kvm::{self, CAP_SREGS2};
use crate::machine::{Machine, MachineConfig};
use crate::{MSRS_ALLOWED, fixed_table, ioctl};
use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::Kvm;
use std::sync::OnceLock;
use trapline_formats::{MemoryRegion, StandIns};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

pub(super) const PROBES: &[Probe] = &[
    Probe("save-restore", "State saved, restored and saved again", save_restore),
    Probe("sync-regs", "Registers shared at exits (KVM_CAP_SYNC_REGS)", sync_regs),
    Probe("sregs2", "System registers with PDPTEs (KVM_GET_SREGS2)", sregs2),
    Probe("completion", "Completing an exit without running on", completion),
    Probe("dirty-log", "Log of written pages", dirty_log),
    Probe("rom", "Writes to ROM", rom),
];

fn save_restore(lab: &Lab<'_>) -> Answered {
    let config = MachineConfig {
        memory: vec![MemoryRegion { gpa: 0, bytes: 0x4000, readonly: false }],
        cpuid: fixed_table(lab.kvm)?,
        msrs_allowed: MSRS_ALLOWED.to_vec(),
        stand_ins: StandIns::default(),
    };
    let mut machine = Machine::new(lab.kvm, &config)?;
    let mut state = machine.save()?;
    // Something in every part that a reset leaves empty.
    state.registers.general = std::array::from_fn(|i| 0x1111_1111_1111_1111 * i as u64);
    state.debug.addresses = [0x1000, 0x2000, 0x3000, 0x4000];
    if let (Some(xmm), Some(present)) = (state.xsave.get_mut(160), Some(512)) {
        *xmm = 0x5a;
        state.xsave[present] |= 2;
    }
    state.system.control[1] = 0xdead_b000; // CR2
    state.system.control[4] = 5; // CR8
    for (index, value) in &mut state.msrs {
        match *index {
            0x174 => *value = 0x10,
            0xc000_0102 => *value = 0xffff_8000_0000_1000,
            0x277 => *value = 0x0007_0406_0007_0406,
            _ => {}
        }
    }
    machine.restore(&state)?;
    let back = machine.save()?;
    let mut other = Machine::new(lab.kvm, &config)?;
    other.restore(&back)?;
    let elsewhere = other.save()?;
    let names: Vec<_> = state
        .differences(&back)
        .into_iter()
        .chain(back.differences(&elsewhere))
        .map(|d| format!("{} ({} became {})", d.name, d.expected, d.actual))
        .collect();
    Ok(Answer::good_if(
        names.is_empty() && state == back && back == elsewhere,
        if names.is_empty() { "equal".to_owned() } else { format!("differs in {}", names.join(", ")) },
        "Snapshots are not exact here: seeking and replaying from one may diverge.",
    ))
}

/// KVM_SYNC_X86_REGS, the general registers (KVM API 5, `kvm_valid_regs`).
const REGS: u64 = 1;

fn sync_regs(lab: &Lab<'_>) -> Answered {
    const WITHOUT: &str = "Each exit costs a system call more.";
    if !kvm::has(lab.kvm, kvm_bindings::KVM_CAP_SYNC_REGS.into()) {
        return Ok(Answer::limits("not offered", WITHOUT));
    }
    let code = [&[0xe6, 0x80][..], &with_end(Mode::Long, &[])].concat(); // out 0x80, al
    let mut guest = lab.guest(Mode::Long, &code)?;
    guest.page.get_mut().kvm_valid_regs = REGS;
    guest.start(|r| r.rbx = 0x1234)?;
    guest.run();
    let in_step = |guest: &mut Guest| Ok::<_, MachineError>(guest.regs()? == guest.page.sync_regs().regs);
    let out = in_step(&mut guest)?;
    // After an entry that a signal cut short, they must be there too.
    guest.complete();
    let after_kick = in_step(&mut guest)?;
    guest.page.sync_regs_mut().regs.rax = 0x55;
    guest.page.get_mut().kvm_dirty_regs = REGS;
    let stop = guest.run();
    let back = matches!(stop, Stop::PortWrite(_, 0x55));
    Ok(match (out, after_kick, back) {
        (true, true, true) => Answer::good("both ways, after kicks too"),
        (true, false, true) => Answer::limits("both ways, but stale after kicks", WITHOUT),
        _ => Answer::limits(format!("out: {out}, in: {back}"), WITHOUT),
    })
}

fn sregs2(lab: &Lab<'_>) -> Answered {
    const WITHOUT: &str = "Guests with PAE paging cannot be restored exactly.";
    if !kvm::has(lab.kvm, CAP_SREGS2) {
        return Ok(Answer::limits("not offered", WITHOUT));
    }
    let guest = lab.guest(Mode::Protected, &[])?;
    let before = ioctl::get_sregs2(&guest.vcpu)?;
    ioctl::set_sregs2(&guest.vcpu, &before)?;
    let after = ioctl::get_sregs2(&guest.vcpu)?;
    let same = before.flags == after.flags && before.cr3 == after.cr3 && before.cs.base == after.cs.base;
    Ok(Answer::good_if(
        same,
        if same { "read and written back" } else { "differs when written back" },
        WITHOUT,
    ))
}

fn completion(lab: &Lab<'_>) -> Answered {
    // in al, 0x80; nop
    let mut guest = lab.guest(Mode::Long, &[0xe4, 0x80, 0x90, 0xf4])?;
    let first = guest.run();
    if !matches!(first, Stop::PortRead(..)) {
        return Ok(Answer::limits(first.to_string(), "IN does not exit."));
    }
    guest.page.io().3.fill(0x77);
    let further = guest.complete();
    let regs = guest.regs()?;
    let done = further.is_none() && regs.rip == TEXT + 2 && regs.rax == 0x77;
    Ok(Answer::good_if(
        done,
        if done { "the instruction, and nothing more" } else { "not exact" },
        "There are no exact positions after exits here.",
    ))
}

/// Where the extra region of a probe lies: behind the guest's RAM, below the GiB that its tables map.
const EXTRA: u64 = 0x40_0000;
const EXTRA_BYTES: usize = 0x1_0000;

/// Adds a region with these flags as slot 1. It must be kept as long as the guest.
fn extra(guest: &Guest, flags: u32) -> Result<GuestMemoryMmap<()>, MachineError> {
    let trouble = |reason: String| MachineError::Memory {
        gpa: trapline_formats::Gpa(EXTRA),
        bytes: EXTRA_BYTES as u64,
        reason,
    };
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(EXTRA), EXTRA_BYTES)])
        .map_err(|e| trouble(e.to_string()))?;
    let host = memory.get_host_address(GuestAddress(EXTRA)).map_err(|e| trouble(e.to_string()))?;
    let slot = kvm_userspace_memory_region {
        slot: 1,
        flags,
        guest_phys_addr: EXTRA,
        memory_size: EXTRA_BYTES as u64,
        userspace_addr: host as u64,
    };
    // SAFETY: the mapping is as large as the slot says; the caller keeps it until after the guest, and it overlaps no
    // other slot.
    unsafe { guest.vm.set_user_memory_region(slot) }.map_err(refused("KVM_SET_USER_MEMORY_REGION"))?;
    Ok(memory)
}

const WRITE_TWO_PAGES: &[u8] = &[
    0x88, 0x04, 0x25, 0x00, 0x10, 0x40, 0x00, // mov [EXTRA + 0x1000], al
    0x88, 0x04, 0x25, 0x00, 0x30, 0x40, 0x00, // mov [EXTRA + 0x3000], al
];

/// What the log of written pages said, twice in a row, after the guest wrote to two pages. `None`: the guest did not come to its end.
fn logs(lab: &Lab<'_>) -> Result<Result<[Vec<u64>; 2], Stop>, MachineError> {
    let guest = lab.guest(Mode::Long, &with_end(Mode::Long, WRITE_TWO_PAGES))?;
    let memory = extra(&guest, KVM_MEM_LOG_DIRTY_PAGES)?;
    // `guest` is moved here so that it is dropped before the memory it uses.
    let mut guest = guest;
    let stop = guest.run();
    if !guest.is_end(stop) {
        return Ok(Err(stop));
    }
    let log = |guest: &Guest| guest.vm.get_dirty_log(1, EXTRA_BYTES).map_err(refused("KVM_GET_DIRTY_LOG"));
    let logs = [log(&guest)?, log(&guest)?];
    drop(guest);
    drop(memory);
    Ok(Ok(logs))
}

/// The two pages, as the log should have them.
const WRITTEN: u64 = 0b1010;

/// Whether KVM logs the pages that a guest writes, all of them. Takes a few milliseconds, the first time.
pub fn logs_writes(kvm: &Kvm) -> Result<bool, MachineError> {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    if let Some(answer) = ANSWER.get() {
        return Ok(*answer);
    }
    let logs = match logs(&Lab::new(kvm)?) {
        Ok(logs) => logs,
        // Not even the flag is known.
        Err(MachineError::Refused { .. }) => return Ok(*ANSWER.get_or_init(|| false)),
        Err(error) => return Err(error),
    };
    let is_there = logs.is_ok_and(|[first, _]| first.first().is_some_and(|word| word & WRITTEN == WRITTEN));
    Ok(*ANSWER.get_or_init(|| is_there))
}

fn dirty_log(lab: &Lab<'_>) -> Answered {
    let [first, second] = match logs(lab)? {
        Ok(logs) => logs,
        Err(stop) => return Ok(Answer::limits(stop.to_string(), "The guest did not come to its end.")),
    };
    let exact = first.first() == Some(&WRITTEN);
    let cleared = second.iter().all(|w| *w == 0);
    Ok(Answer::good_if(
        exact && cleared,
        match (exact, cleared) {
            (true, true) => "exactly the pages written, cleared by reading".to_owned(),
            (true, false) => "is not cleared by reading".to_owned(),
            _ => format!("pages {:#b} instead of {WRITTEN:#b}", first.first().unwrap_or(&0)),
        },
        "Keyframes and checkpoints must look at all of memory instead of the pages written.",
    ))
}

fn rom(lab: &Lab<'_>) -> Answered {
    const WITHOUT: &str = "Firmware that writes to its ROM changes it.";
    if !kvm::has(lab.kvm, kvm_bindings::KVM_CAP_READONLY_MEM.into()) {
        return Ok(Answer::limits("no ROM: KVM_CAP_READONLY_MEM is missing", WITHOUT));
    }
    let mut guest = lab.guest(Mode::Long, &with_end(Mode::Long, WRITE_TWO_PAGES))?;
    let memory = extra(&guest, KVM_MEM_READONLY)?;
    guest.start(|r| r.rax = 0x77)?;
    let stop = guest.run();
    drop(guest);
    let kept: u8 = memory.read_obj(GuestAddress(EXTRA + 0x1000)).unwrap_or(0x77);
    let good = matches!(stop, Stop::MmioWrite(0x40_1000, 1)) && kept == 0;
    Ok(Answer::good_if(
        good,
        if good { "exit, and change nothing".to_owned() } else { stop.to_string() },
        WITHOUT,
    ))
}
