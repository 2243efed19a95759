//! Small assembly guests: flat images for 0x8000, one guest, one behaviour.
//!
//! They are assembled into this crate by the compiler's own assembler, so nobody needs another. A file serves every mode it
//! makes sense in; the words they share (`say`, `handle`, `timer`) are in `words.inc`.

#[macro_use]
mod assemble;

/// The mode a guest is entered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Real mode.
    Bits16,
    /// Protected mode.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// How a guest ends its recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// By the exit device, with this code.
    Exit(u8),
    /// HLT with interrupts disabled.
    Halted,
    /// HLT with interrupts enabled, and nothing to wait for.
    Idle,
    /// Triple fault.
    TripleFault,
    /// It asks for a reset.
    Reset,
    /// It switches itself off.
    PowerOff,
    /// It does not.
    Never,
}

/// A guest.
#[derive(Debug, Clone, Copy)]
pub struct Guest {
    /// Its name: the file it is in and its mode.
    pub name: &'static str,
    /// The mode it is entered in.
    pub mode: Mode,
    /// Its bytes, to be loaded and entered at 0x8000; a multiboot kernel's file.
    pub image: &'static [u8],
    /// How it ends.
    pub ends: Ends,
    /// What it wants typed at COM1.
    pub types: &'static str,
    /// What it prints on COM1; `None` where that depends on the engine.
    pub prints: Option<&'static [u8]>,
}

guests! {
    /// The demonstration: prints, polls, scans PCI, reads clocks, takes timer interrupts, leaves by the exit device.
    demo: "demo.s", 64, Ends::Exit(0), Some(b"hello from a guest under trapline\nPCI devices: 2\nten timer interrupts later: bye\n");
    /// Reads and writes a port a few times and halts.
    port64: "port64.s", 64, Ends::Halted, Some(b"");
    /// Ports of every width.
    ports_16: "ports.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// Ports of every width.
    ports_32: "ports.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// Ports of every width.
    ports_64: "ports.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// REP INS and REP OUTS.
    string_ports_16: "string_ports.s", 16, Ends::Exit(0), Some(b"QEMU\n");
    /// REP INS and REP OUTS.
    string_ports_32: "string_ports.s", 32, Ends::Exit(0), Some(b"QEMU\n");
    /// REP INS and REP OUTS.
    string_ports_64: "string_ports.s", 64, Ends::Exit(0), Some(b"QEMU\n");
    /// Unclaimed memory, every width.
    mmio_32: "mmio.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// Unclaimed memory, every width.
    mmio_64: "mmio.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Unclaimed memory, 16 bytes at a time.
    mmio_wide_32: "mmio_wide.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// Unclaimed memory, 16 bytes at a time.
    mmio_wide_64: "mmio_wide.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Unclaimed memory, string instructions.
    mmio_string_32: "mmio_string.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// Unclaimed memory, string instructions.
    mmio_string_64: "mmio_string.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Functions that call each other, with frame pointers and without.
    calls_16: "calls.s", 16, Ends::Exit(0), Some(b"");
    /// Functions that call each other, with frame pointers and without.
    calls_32: "calls.s", 32, Ends::Exit(0), Some(b"");
    /// Functions that call each other, with frame pointers and without.
    calls_64: "calls.s", 64, Ends::Exit(0), Some(b"");
    /// MSRs.
    msrs_16: "msrs.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// MSRs.
    msrs_32: "msrs.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// MSRs.
    msrs_64: "msrs.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// MSRs that raise #GP.
    msrs_refused_16: "msrs_refused.s", 16, Ends::Exit(0), Some(b"################\n");
    /// MSRs that raise #GP.
    msrs_refused_32: "msrs_refused.s", 32, Ends::Exit(0), Some(b"################\n");
    /// MSRs that raise #GP.
    msrs_refused_64: "msrs_refused.s", 64, Ends::Exit(0), Some(b"################\n");
    /// RDTSC.
    tsc_16: "tsc.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// RDTSC.
    tsc_32: "tsc.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// RDTSC.
    tsc_64: "tsc.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Timer interrupts out of HLT.
    timer_hlt_16: "timer_hlt.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// Timer interrupts out of HLT.
    timer_hlt_32: "timer_hlt.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// Timer interrupts out of HLT.
    timer_hlt_64: "timer_hlt.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Timer interrupts out of HLT, slowly.
    slow_timer_64: "slow_timer.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Timer interrupts at interrupt windows.
    timer_window_16: "timer_window.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// Timer interrupts at interrupt windows.
    timer_window_32: "timer_window.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// Timer interrupts at interrupt windows.
    timer_window_64: "timer_window.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Timer interrupts at exits.
    timer_exits_16: "timer_exits.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// Timer interrupts at exits.
    timer_exits_32: "timer_exits.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// Timer interrupts at exits.
    timer_exits_64: "timer_exits.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Interrupt shadows.
    shadow_16: "shadow.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// Interrupt shadows.
    shadow_32: "shadow.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// Interrupt shadows.
    shadow_64: "shadow.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Software interrupts in real mode.
    ivt_16: "ivt.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// Software interrupts, and IRET.
    software_interrupts_16: "software_interrupts.s", 16, Ends::Exit(0),
        Some(b"00000403 00000031 00000000 00000647 00000645 00000006 000001c8 00000000 00000006 00000002 000001c8 00000000 00000006 00000002 000001c8 00000000 00000006 00001034 \n");
    /// Software interrupts, and IRET.
    software_interrupts_32: "software_interrupts.s", 32, Ends::Exit(0),
        Some(b"00000403 000000b9 00000008 00000647 00000645 00000006 00000207 00000008 00000006 00000002 00000207 00000008 00000006 00000002 00000207 00000008 00000006 00001034 \n");
    /// Software interrupts, and IRET.
    software_interrupts_64: "software_interrupts.s", 64, Ends::Exit(0),
        Some(b"00000403 000000ce 00000008 00000647 00000645 00000006 0000021c 00000008 00000006 00000002 0000021c 00000008 00000006 00000002 0000021c 00000008 00000006 00000034 \n");
    /// x87.
    fpu_32: "fpu.s", 32, Ends::Exit(0), Some(b"0000027f 408487ed 00003820 fff80000 00003821 0000013c 0000027f 00000000 00002820 3f800000 \n");
    /// x87.
    fpu_64: "fpu.s", 64, Ends::Exit(0), Some(b"0000027f 408487ed 00003820 fff80000 00003821 0000013c 0000027f 00000000 00002820 3f800000 \n");
    /// POPCNT.
    popcnt_32: "popcnt.s", 32, Ends::Exit(0), Some(b"ffff0009 00000011 00000040 00000000 00000004 00000000 00000001 \n");
    /// POPCNT.
    popcnt_64: "popcnt.s", 64, Ends::Exit(0), Some(b"ffff0009 00000011 00000040 00000000 00000004 00000000 00000013 00000040 00000001 \n");
    /// CLAC and STAC.
    access_check_16: "access_check.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// CLAC and STAC.
    access_check_32: "access_check.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// CLAC and STAC.
    access_check_64: "access_check.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Exceptions of x87, SSE, XGETBV and software interrupts.
    faults_32: "faults.s", 32, Ends::Exit(0),
        Some(b"0000000d 00001238 00000000 0000000d 00000010 00000000 0000000d 00000000 00000000 0000000d 00000182 00000000 0000000d 00000782 00000000 0000000d 00000000 00000000 00000007 00000307 00000000 00000007 0000030d 00000000 00000007 00000314 00000000 00000006 00000329 00000000 00000007 00000332 00000000 00000006 0000034f 00000000 \n");
    /// Exceptions of x87, SSE, XGETBV and software interrupts.
    faults_64: "faults.s", 64, Ends::Exit(0),
        Some(b"0000000d 00001238 00000000 0000000d 00000010 00000000 0000000d 00000000 00000000 0000000d 00000000 00000000 00000007 00000313 00000000 00000007 00000319 00000000 00000007 00000320 00000000 00000006 00000335 00000000 00000007 0000033e 00000000 00000006 0000035b 00000000 \n");
    /// SSE and MMX.
    sse_32: "sse.s", 32, Ends::Exit(0),
        Some(b"17151311 2f2d2b29 2f2e2d2c 23222120 a9d2f8ea 00000000 00000001 00000000 7f800000 7f800000 00001fa4 00000002 00000000 00000000 80000000 17151311 00000000 00000000 1e1c1a18 \n");
    /// SSE and MMX.
    sse_64: "sse.s", 64, Ends::Exit(0),
        Some(b"17151311 2f2d2b29 2f2e2d2c 23222120 a9d2f8ea 00000000 00000001 00000000 7f800000 7f800000 00001fa4 00000002 00000000 00000000 80000000 17151311 00000000 00000000 1e1c1a18 90abcdef 1f1d1b19 90abcdef \n");
    /// SSE, MMX and x87 at memory that nobody owns.
    mmio_sse_32: "mmio_sse.s", 32, Ends::Exit(0),
        Some(b"ffffffff ffffffff 00000000 00000000 ffffffff 00000000 00000000 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 00000000 00000000 ffffffff ffffffff ffffffff 00000000 00000000 00000000 ffffffff 00003800 fefefefe ffffffff ffffffff ffffffff \n");
    /// SSE, MMX and x87 at memory that nobody owns.
    mmio_sse_64: "mmio_sse.s", 64, Ends::Exit(0),
        Some(b"ffffffff ffffffff 00000000 00000000 ffffffff 00000000 00000000 00000000 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 00000000 00000000 ffffffff ffffffff ffffffff 00000000 00000000 00000000 ffffffff 00003800 fefefefe ffffffff ffffffff ffffffff \n");
    /// XSAVE and XRSTOR.
    xsave_32: "xsave.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// XSAVE and XRSTOR.
    xsave_64: "xsave.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// EXTRQ, of AMD alone.
    sse4a_64: "sse4a.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// RDTSCP.
    rdtscp_32: "rdtscp.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// RDTSCP.
    rdtscp_64: "rdtscp.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// RDRAND and RDSEED.
    random_16: "random.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// RDRAND and RDSEED.
    random_32: "random.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// RDRAND and RDSEED.
    random_64: "random.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// A software interrupt that leads nowhere.
    int_nowhere_32: "int_nowhere.s", 32, Ends::TripleFault, Some(b"bye\n");
    /// A software interrupt that leads nowhere.
    int_nowhere_64: "int_nowhere.s", 64, Ends::TripleFault, Some(b"bye\n");
    /// CMPXCHG16B.
    cmpxchg16b_64: "cmpxchg16b.s", 64, Ends::Exit(0),
        Some(b"00000040 00003333 00004444 00003333 00004444 00000040 ok\n");
    /// HLT with interrupts disabled.
    halt_16: "halt.s", 16, Ends::Halted, Some(b"bye\n");
    /// HLT with interrupts disabled.
    halt_32: "halt.s", 32, Ends::Halted, Some(b"bye\n");
    /// HLT with interrupts disabled.
    halt_64: "halt.s", 64, Ends::Halted, Some(b"bye\n");
    /// HLT with nothing to wait for.
    idle_64: "idle.s", 64, Ends::Idle, Some(b"idle\n");
    /// A triple fault.
    triple_fault_32: "triple_fault.s", 32, Ends::TripleFault, Some(b"bye\n");
    /// A triple fault.
    triple_fault_64: "triple_fault.s", 64, Ends::TripleFault, Some(b"bye\n");
    /// No exits at all.
    spin_16: "spin.s", 16, Ends::Never, Some(b"spinning\n");
    /// No exits at all.
    spin_64: "spin.s", 64, Ends::Never, Some(b"spinning\n");
    /// Echoes what is typed, polling.
    echo_16: "echo.s", 16, Ends::Exit(0), types "typed at COM1\n";
    /// Echoes what is typed, polling.
    echo_32: "echo.s", 32, Ends::Exit(0), types "typed at COM1\n";
    /// Echoes what is typed, polling.
    echo_64: "echo.s", 64, Ends::Exit(0), types "typed at COM1\n";
    /// Echoes what is typed, by interrupt.
    echo_irq_64: "echo_irq.s", 64, Ends::Exit(0), types "typed, by interrupt\n";
    /// Escape sequences.
    escapes_64: "escapes.s", 64, Ends::Exit(0), Some(b"\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x9b\xff end\n");
    /// Ports and addresses of nobody.
    unknown_16: "unknown.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// Ports and addresses of nobody.
    unknown_32: "unknown.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// Ports and addresses of nobody.
    unknown_64: "unknown.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Many pages written.
    pages_32: "pages.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// Many pages written.
    pages_64: "pages.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Reset by the keyboard controller.
    keyboard_reset_16: "keyboard_reset.s", 16, Ends::Reset, Some(b"bye\n");
    /// Reset by the keyboard controller.
    keyboard_reset_64: "keyboard_reset.s", 64, Ends::Reset, Some(b"bye\n");
    /// ACPI power-off.
    power_off_16: "power_off.s", 16, Ends::PowerOff, Some(b"bye\n");
    /// ACPI power-off.
    power_off_64: "power_off.s", 64, Ends::PowerOff, Some(b"bye\n");
    /// A code for the exit device.
    exit_code_64: "exit_code.s", 64, Ends::Exit(42), Some(b"bye\n");
    /// The task priority.
    cr8_64: "cr8.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// XMM registers across exits.
    xmm_32: "xmm.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// XMM registers across exits.
    xmm_64: "xmm.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// CPUID.
    cpuid_16: "cpuid.s", 16, Ends::Exit(0), Some(b"ok\n");
    /// CPUID.
    cpuid_32: "cpuid.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// CPUID.
    cpuid_64: "cpuid.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// The timer of the local APIC, one-shot.
    apic_timer_32: "apic_timer.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// The timer of the local APIC, one-shot.
    apic_timer_64: "apic_timer.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// The timer of the local APIC, periodic.
    apic_periodic_32: "apic_periodic.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// The timer of the local APIC, periodic.
    apic_periodic_64: "apic_periodic.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// The timer of the local APIC, without HLT.
    apic_poll_32: "apic_poll.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// The timer of the local APIC, without HLT.
    apic_poll_64: "apic_poll.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Interrupts that the guest sends itself.
    self_ipi_32: "self_ipi.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// Interrupts that the guest sends itself.
    self_ipi_64: "self_ipi.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// The PIT through the I/O APIC.
    io_apic_edge_32: "io_apic_edge.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// The PIT through the I/O APIC.
    io_apic_edge_64: "io_apic_edge.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// A level-triggered line through the I/O APIC.
    io_apic_level_32: "io_apic_level.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// A level-triggered line through the I/O APIC.
    io_apic_level_64: "io_apic_level.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// The task priority register.
    task_priority_32: "task_priority.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// The task priority register.
    task_priority_64: "task_priority.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// CR8 and the task priority register.
    cr8_apic_64: "cr8_apic.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// NMIs that the guest sends itself.
    nmi_self_64: "nmi_self.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// NMIs out of HLT with interrupts disabled.
    nmi_hlt_64: "nmi_hlt.s", 64, Ends::Halted, Some(b"ok\n");
    /// The local APIC as MSRs.
    x2apic_32: "x2apic.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// The local APIC as MSRs.
    x2apic_64: "x2apic.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// The 8259A through the local APIC.
    virtual_wire_32: "virtual_wire.s", 32, Ends::Exit(0), Some(b"ok\n");
    /// The 8259A through the local APIC.
    virtual_wire_64: "virtual_wire.s", 64, Ends::Exit(0), Some(b"ok\n");
    /// Every timer runs, and interrupts are never enabled.
    deaf_32: "deaf.s", 32, Ends::Halted, Some(b"deaf\n");
    /// Every timer runs, and interrupts are never enabled.
    deaf_64: "deaf.s", 64, Ends::Halted, Some(b"deaf\n");
}

/// What `copy.s` needs: 64 MiB, the MiB they are copied from, and what lies below.
pub const COPY_RAM: u64 = 80 << 20;

/// Guests that compute without an exit while a timer runs. They end where interrupts come between exits, and not otherwise; `copy_64` wants
/// [`COPY_RAM`].
pub fn computing() -> Vec<Guest> {
    vec![
        compute_16(),
        compute_32(),
        compute_64(),
        copy_64(),
        wait_word_16(),
        wait_word_32(),
        wait_word_64(),
        shadows_16(),
        shadows_32(),
        shadows_64(),
        user_64(),
    ]
}

guest! {
    /// A tight loop in registers.
    compute_16, "compute.s", 16, Ends::Exit(0), Some(b"0000000a interrupts\n")
}

guest! {
    /// A tight loop in registers.
    compute_32, "compute.s", 32, Ends::Exit(0), Some(b"0000000a interrupts\n")
}

guest! {
    /// A tight loop in registers.
    compute_64, "compute.s", 64, Ends::Exit(0), Some(b"0000000a interrupts\n")
}

guest! {
    /// REP MOVS of 64 MiB.
    copy_64, "copy.s", 64, Ends::Exit(0), Some(b"copied, interrupted\n")
}

guest! {
    /// Spins on a word that an interrupt changes.
    wait_word_16, "wait_word.s", 16, Ends::Exit(0), Some(b"ten changes\n")
}

guest! {
    /// Spins on a word that an interrupt changes.
    wait_word_32, "wait_word.s", 32, Ends::Exit(0), Some(b"ten changes\n")
}

guest! {
    /// Spins on a word that an interrupt changes.
    wait_word_64, "wait_word.s", 64, Ends::Exit(0), Some(b"ten changes\n")
}

guest! {
    /// Interrupt shadows in a loop.
    shadows_16, "shadows.s", 16, Ends::Exit(0), Some(b"never in a shadow\n")
}

guest! {
    /// Interrupt shadows in a loop.
    shadows_32, "shadows.s", 32, Ends::Exit(0), Some(b"never in a shadow\n")
}

guest! {
    /// Interrupt shadows in a loop.
    shadows_64, "shadows.s", 64, Ends::Exit(0), Some(b"never in a shadow\n")
}

guest! {
    /// A loop in user mode.
    user_64, "user.s", 64, Ends::Exit(0), Some(b"ten interrupts from user mode\n")
}

guest! {
    /// One port read after the other, for benchmarks: not in [`all`], for a matrix learns nothing from it.
    port_loop, "port_loop.s", 64, Ends::Never, Some(b"")
}

guest! {
    /// One MMIO read after the other, for benchmarks.
    mmio_loop, "mmio_loop.s", 64, Ends::Never, Some(b"")
}

guest! {
    /// The same by an instruction that KVM cannot finish, for benchmarks.
    finish_loop, "finish_loop.s", 64, Ends::Never, Some(b"")
}

guest! {
    /// One RDTSCP, for tests of what a guest uses: not in [`all`], for what it leaves in memory depends on the engine.
    lone_rdtscp_64, "lone_rdtscp.s", 64, Ends::Exit(0), Some(b"ok\n")
}

guest! {
    /// Interrupts for ever, for tests of bad guests: it ends only where it is cut, which is nowhere in particular.
    storm_64, "storm.s", 64, Ends::Never, Some(b"storm\n")
}

guest! {
    /// Reads a virtio disk, and writes to it: not in [`all`], for it needs one.
    virtio_disk_32, "virtio_disk.s", 32, Ends::Exit(0), None
}

guest! {
    /// Takes frames and sends them back: not in [`all`], for it needs a network.
    virtio_net_32, "virtio_net_halts.s" "virtio_net.s" at 0x8000, 32, Ends::Exit(0), None
}

guest! {
    /// The same, and computes without an exit while it waits for frames.
    virtio_net_computes_32, "virtio_net_computes.s" "virtio_net.s" at 0x8000, 32, Ends::Exit(0), None
}

guest! {
    /// Reads what a device writes into memory, for tests that bring the device: not in [`all`].
    mailbox_16, "mailbox.s", 16, Ends::Halted, Some(b"")
}

guest! {
    /// Reads what a device writes into memory, for tests that bring the device: not in [`all`].
    mailbox_32, "mailbox.s", 32, Ends::Halted, Some(b"")
}

guest! {
    /// Reads what a device writes into memory, for tests that bring the device: not in [`all`].
    mailbox_64, "mailbox.s", 64, Ends::Halted, Some(b"")
}

guest! {
    /// KVM's paravirtual clock.
    kvmclock_64, "kvmclock.s", 64, Ends::Exit(13), Some(b"")
}

guest! {
    /// A clock read that no disassembly finds, in a register at an exit.
    hidden_clock_64, "hidden_clock.s", 64, Ends::Exit(0), Some(b"")
}

guest! {
    /// A clock read that no disassembly finds, of which only bits are left at an exit.
    hidden_bits_64, "hidden_bits.s", 64, Ends::Exit(0), Some(b"")
}

guest! {
    /// Sets the clock before it reads it where no disassembly finds that.
    hidden_set_64, "hidden_set.s", 64, Ends::Exit(0), Some(b"")
}

guest! {
    /// Waits by clock reads that no disassembly finds, with exits.
    hidden_wait_64, "hidden_wait.s", 64, Ends::Exit(0), Some(b"")
}

guest! {
    /// Waits by clock reads that no disassembly finds, without an exit.
    hidden_spin_64, "hidden_spin.s", 64, Ends::Exit(0), Some(b"")
}

guest! {
    /// A random number that no disassembly finds.
    hidden_random_64, "hidden_random.s", 64, Ends::Exit(0), Some(b"")
}

guest! {
    /// A clock read of user mode that no disassembly finds, of which nothing is left but a word of memory.
    user_clock_64, "user_clock.s", 64, Ends::Never, Some(b"")
}

guest! {
    /// A random number of user mode that no disassembly finds.
    user_random_64, "user_random.s", 64, Ends::Never, Some(b"")
}

guest! {
    /// Sources behind computed calls, and data that looks like one.
    computed_64, "computed.s", 64, Ends::Exit(0), Some(b"ok\n")
}

guest! {
    /// Sources behind computed calls, and data that looks like one.
    computed_32, "computed.s", 32, Ends::Exit(0), Some(b"ok\n")
}

guest! {
    /// A disk that a BIOS boots: not in [`all`], for it needs one. It reads the clock in its boot sector and behind its first exit.
    boot_polls, "boot_sector.s" "boot_polls.s" at 0x7c00, 16, Ends::Exit(0), Some(b"booted\n")
}

guest! {
    /// The same, and it reads the clock before its first exit, too.
    boot_measures, "boot_sector.s" "boot_measures.s" at 0x7c00, 16, Ends::Exit(0), Some(b"booted\n")
}

/// What both multiboot kernels print with 4 MiB of memory, the command line `one two`, and two modules: `alpha`, with the text
/// `the first`, and `beta`, without one.
const MULTIBOOT: &[u8] = b"loader: Trapline\n\
    command line: one two\n\
    KiB: 0000027f 00000c00 \n\
    00000000 00000000 00000000 0009fc00 00000001 \n\
    00000000 000e0000 00000000 00020000 00000002 \n\
    00000000 00100000 00000000 00300000 00000001 \n\
    00105000 the first: alpha\n\
    00106000 : beta\n\
    the clock goes on\n\
    interrupts: 00000005 00000007 00000003 \n";

guest! {
    /// A multiboot kernel that its header alone says how to load: not in [`all`], for it is booted in its own way.
    multiboot_header, "multiboot_header.s" "multiboot.s" at 0x100000, 32, Ends::Exit(0), Some(MULTIBOOT)
}

guest! {
    /// The same as an ELF file.
    multiboot_elf, "multiboot_elf.s" "multiboot.s" at 0x100000, 32, Ends::Exit(0), Some(MULTIBOOT)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_guest_fits_below_its_own_data() {
        for guest in super::all() {
            assert!(!guest.image.is_empty() && guest.image.len() < 0x4000, "{}", guest.name);
        }
    }
}
