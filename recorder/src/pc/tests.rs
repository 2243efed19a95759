//! The devices together: what a guest sees of the whole PC.

use super::*;

const S: u64 = 1_000_000_000;

fn pc() -> Pc {
    Pc::new(PcConfig::with_ram(64 << 20))
}

fn inb(pc: &mut Pc, now: u64, port: u16) -> u8 {
    let mut data = [0];
    pc.port_read(Time(now), port, &mut data);
    data[0]
}

fn inl(pc: &mut Pc, now: u64, port: u16) -> u32 {
    let mut data = [0; 4];
    pc.port_read(Time(now), port, &mut data);
    u32::from_le_bytes(data)
}

fn outb(pc: &mut Pc, now: u64, port: u16, value: u8) {
    pc.port_write(Time(now), port, &[value]);
}

fn outl(pc: &mut Pc, now: u64, port: u16, value: u32) {
    pc.port_write(Time(now), port, &value.to_le_bytes());
}

/// Interrupt controllers as a BIOS leaves them, and the timer at a thousand hertz.
fn running() -> Pc {
    let mut pc = pc();
    for (base, vectors) in [(0x20, 0x08), (0xA0, 0x70)] {
        for (a0, value) in [(0, 0x11), (1, vectors), (1, 0x04), (1, 0x01)] {
            outb(&mut pc, 0, base + a0, value);
        }
    }
    for (port, value) in [(0x43, 0x34), (0x40, 0xA9), (0x40, 0x04)] {
        outb(&mut pc, 0, port, value);
    }
    pc
}

#[test]
fn a_timer_tick_interrupts_at_its_deadline_and_not_before() {
    let mut pc = running();
    let deadline = pc.next_deadline().unwrap_or_default();
    assert!(!pc.interrupt_pending(Time(deadline.0 - 1)));
    assert!(pc.interrupt_pending(deadline));
    assert!(pc.next_deadline() > Some(deadline));
    assert_eq!(pc.acknowledge_interrupt(deadline), 0x08);
    assert!(!pc.interrupt_pending(deadline));
}

#[test]
fn a_masked_timer_has_no_deadline_and_its_tick_waits_for_the_mask() {
    let mut pc = running();
    outb(&mut pc, 0, 0x21, 0x01);
    assert_eq!(pc.next_deadline(), None);
    assert!(!pc.interrupt_pending(Time(S)));
    outb(&mut pc, S, 0x21, 0x00);
    assert!(pc.interrupt_pending(Time(S)));
}

#[test]
fn a_tick_latched_behind_one_in_service_is_the_last_that_counts_until_its_eoi() {
    let mut pc = running();
    assert!(pc.interrupt_pending(Time(2_000_000)));
    pc.acknowledge_interrupt(Time(2_000_000));
    assert!(pc.next_deadline().is_some());
    assert!(!pc.interrupt_pending(Time(4_000_000)));
    assert_eq!(pc.next_deadline(), None);
    outb(&mut pc, 4_000_000, 0x20, 0x20);
    assert!(pc.interrupt_pending(Time(4_000_000)));
    assert!(pc.next_deadline().is_some());
}

#[test]
fn the_clock_interrupts_through_the_slave() {
    let mut pc = running();
    outb(&mut pc, 0, 0x21, 0x01);
    outb(&mut pc, 0, 0x70, 0x0B);
    outb(&mut pc, 0, 0x71, 0x12);
    assert_eq!(pc.next_deadline(), Some(Time(S)));
    assert!(pc.interrupt_pending(Time(S)));
    assert_eq!(pc.acknowledge_interrupt(Time(S)), 0x70);
}

#[test]
fn a_key_typed_at_the_console_interrupts_on_irq_4() {
    let mut pc = running();
    outb(&mut pc, 0, 0x3F9, 0x01);
    assert_eq!(pc.console_input(Time(1), b"xyz"), 1);
    assert!(pc.interrupt_pending(Time(1)));
    assert_eq!(pc.acknowledge_interrupt(Time(1)), 0x0C);
    assert_eq!(inb(&mut pc, 2, 0x3F8), b'x');
}

#[test]
fn each_byte_from_the_keyboard_is_an_interrupt_of_its_own() {
    let mut pc = running();
    outb(&mut pc, 0, 0x60, 0xFF);
    for byte in [0xFA, 0xAA] {
        assert!(pc.interrupt_pending(Time(1)));
        assert_eq!(pc.acknowledge_interrupt(Time(1)), 0x09);
        assert_eq!(inb(&mut pc, 1, 0x60), byte);
        outb(&mut pc, 1, 0x20, 0x20);
    }
    assert!(!pc.interrupt_pending(Time(1)));
}

#[test]
fn a_polled_byte_leaves_no_interrupt_behind() {
    let mut pc = running();
    outb(&mut pc, 0, 0x60, 0xEE);
    assert_eq!(inb(&mut pc, 0, 0x60), 0xEE);
    assert!(!pc.interrupt_pending(Time(0)));
}

#[test]
fn a_word_to_a_byte_device_is_two_bytes_at_consecutive_ports() {
    let mut pc = pc();
    // Line control 0x83 opens the divisor latch; a word to the data port then writes both halves.
    outb(&mut pc, 0, 0x3FB, 0x83);
    pc.port_write(Time(0), 0x3F8, &[0x34, 0x12]);
    assert_eq!((inb(&mut pc, 0, 0x3F8), inb(&mut pc, 0, 0x3F9)), (0x34, 0x12));
    let mut word = [0; 2];
    assert_eq!(pc.port_read(Time(0), 0x3F8, &mut word), Claim::Device);
    assert_eq!(word, [0x34, 0x12]);
}

#[test]
fn a_wide_access_at_the_last_port_wraps_and_does_no_harm() {
    let mut pc = pc();
    assert_eq!(inl(&mut pc, 0, 0xFFFF) & 0xFF, 0xFF);
    assert_eq!(pc.port_read(Time(0), 0xFFFF, &mut []), Claim::Nobody);
}

#[test]
fn com2_is_nobody_and_reads_all_ones() {
    let mut pc = pc();
    let mut data = [0];
    assert_eq!(pc.port_read(Time(0), 0x2FD, &mut data), Claim::Nobody);
    assert_eq!(data, [0xFF]);
    assert_eq!(pc.port_write(Time(0), 0x2F8, b"x"), Claim::Nobody);
}

#[test]
fn linux_finds_configuration_mechanism_1() {
    let mut pc = pc();
    outb(&mut pc, 0, 0xCFB, 0x01);
    let saved = inl(&mut pc, 0, 0xCF8);
    outl(&mut pc, 0, 0xCF8, 0x8000_0000);
    assert_eq!(inl(&mut pc, 0, 0xCF8), 0x8000_0000);
    assert_eq!(inl(&mut pc, 0, 0xCFC), 0x1237_8086);
    let mut device = [0; 2];
    pc.port_read(Time(0), 0xCFE, &mut device);
    assert_eq!(u16::from_le_bytes(device), 0x1237);
    outl(&mut pc, 0, 0xCF8, saved);
    assert_eq!(pc.take_request(), None, "0xCF9 inside the address was not the reset register");
}

#[test]
fn the_ways_to_end_a_run_are_requests_and_the_first_one_counts() {
    let ways: [(u16, &[u8], Request); 7] = [
        (0xF4, &[42, 0, 0, 0], Request::Exit(42)),
        (0x64, &[0xFE], Request::Reset),
        (0xCF9, &[0x06], Request::Reset),
        (0x92, &[0x01], Request::Reset),
        (0x604, &[0x00, 0x20], Request::PowerOff),
        (0x605, &[0x20], Request::PowerOff),
        (0xB004, &[0x00, 0x20], Request::PowerOff),
    ];
    for (port, data, request) in ways {
        let mut pc = pc();
        pc.port_write(Time(0), port, data);
        outb(&mut pc, 0, 0xF4, 1);
        assert_eq!((pc.take_request(), pc.take_request()), (Some(request), None), "{port:#x}");
    }
}

#[test]
fn the_pm_timer_reads_the_same_as_a_doubleword_and_as_bytes() {
    let mut pc = pc();
    let now = 3 * S + 123_456_789;
    let bytes = [0x608, 0x609, 0x60A, 0x60B].map(|port| inb(&mut pc, now, port));
    assert_eq!(inl(&mut pc, now, 0x608), u32::from_le_bytes(bytes));
}

#[test]
fn fw_cfg_is_selected_by_a_word_and_read_by_bytes() {
    let mut pc = pc();
    pc.port_write(Time(0), 0x510, &[0x03, 0x00]);
    let ram = [0; 8].map(|_: u8| inb(&mut pc, 0, 0x511));
    assert_eq!(u64::from_le_bytes(ram), 64 << 20);
}

#[test]
fn what_is_printed_comes_out_by_channel_and_once() {
    let mut pc = pc();
    for (port, value) in [(0x3F8, b'a'), (0x402, b'b'), (0xE9, b'c'), (0x3F8, b'd')] {
        outb(&mut pc, 0, port, value);
    }
    let mut taken = Vec::new();
    pc.take_console(&mut |channel, bytes| taken.push((channel, bytes.to_vec())));
    assert_eq!(taken, [(0, b"ad".to_vec()), (1, b"b".to_vec()), (2, b"c".to_vec())]);
    pc.take_console(&mut |_, _| unreachable!("nothing was printed"));
    assert_eq!(pc.console_channels().len(), 4);
}

#[test]
fn every_claimed_port_has_a_name() {
    let mut pc = pc();
    let names = pc.names();
    for port in 0..=u16::MAX {
        let claimed = pc.port_read(Time(0), port, &mut [0]) == Claim::Device;
        let named = names.iter().any(|n| {
            n.space == Space::Port
                && (n.start..n.end).contains(&u64::from(port))
                && !n.device.ends_with("(absent)")
        });
        assert_eq!(claimed, named, "{port:#x}");
    }
}

#[test]
fn a_guest_that_hits_every_port_with_everything_breaks_nothing() {
    let mut pc = running();
    // A linear congruential generator (Knuth's MMIX constants): unordered, and the same each time.
    let mut state = 1u64;
    for step in 0..400_000u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = state >> 16;
        let port = if bits & 1 == 0 {
            let range = PORTS[(bits >> 8) as usize % PORTS.len()];
            range.start.wrapping_add((bits >> 24) as u16 & 7)
        } else {
            (bits >> 8) as u16
        };
        let now = Time(step * ((bits >> 30) & 0xFF_FFFF));
        let width = [1, 2, 4][(bits >> 2) as usize % 3];
        let mut data = bits.to_le_bytes();
        if bits & 2 == 0 {
            pc.port_write(now, port, &data[..width]);
        } else {
            pc.port_read(now, port, &mut data[..width]);
        }
        if pc.interrupt_pending(now) {
            pc.acknowledge_interrupt(now);
        }
        pc.next_deadline();
        pc.take_request();
    }
}

fn writel(pc: &mut Pc, now: u64, address: u64, value: u32) {
    assert_eq!(pc.mmio_write(Time(now), Gpa(address), &value.to_le_bytes()), Claim::Device);
}

fn readl(pc: &mut Pc, now: u64, address: u64) -> u32 {
    let mut data = [0; 4];
    assert_eq!(pc.mmio_read(Time(now), Gpa(address), &mut data), Claim::Device);
    u32::from_le_bytes(data)
}

fn route(pc: &mut Pc, pin: u32, low: u32) {
    writel(pc, 0, 0xFEC0_0000, 0x10 + pin * 2);
    writel(pc, 0, 0xFEC0_0010, low);
}

/// The timer at a thousand hertz; the 8259A masked, the APIC enabled with LINT0 masked.
fn with_apic() -> Pc {
    let mut pc = running();
    outb(&mut pc, 0, 0x21, 0xFF);
    outb(&mut pc, 0, 0xA1, 0xFF);
    writel(&mut pc, 0, 0xFEE0_00F0, 0x1FF);
    writel(&mut pc, 0, 0xFEE0_0350, 0x1_0000);
    pc
}

#[test]
fn the_timer_is_on_pin_2_of_the_io_apic_and_on_no_other() {
    let mut pc = with_apic();
    for pin in [0, 1, 3] {
        route(&mut pc, pin, 0x50 + pin);
    }
    assert_eq!(pc.next_deadline(), None);
    route(&mut pc, 2, 0x52);
    let deadline = pc.next_deadline().unwrap_or_default();
    assert!(!pc.interrupt_pending(Time(deadline.0 - 1)));
    assert!(pc.interrupt_pending(deadline));
    assert_eq!(pc.acknowledge_interrupt(deadline), 0x52);
}

#[test]
fn a_level_triggered_line_comes_again_after_eoi_until_its_cause_is_gone() {
    let mut pc = with_apic();
    route(&mut pc, 4, 0x8064);
    outb(&mut pc, 0, 0x3F9, 0x01);
    pc.console_input(Time(1), b"x");
    for _ in 0..3 {
        assert!(pc.interrupt_pending(Time(1)));
        assert_eq!(pc.acknowledge_interrupt(Time(1)), 0x64);
        assert!(!pc.interrupt_pending(Time(1)));
        writel(&mut pc, 1, 0xFEE0_00B0, 0);
    }
    assert_eq!(pc.acknowledge_interrupt(Time(1)), 0x64);
    assert_eq!(inb(&mut pc, 1, 0x3F8), b'x');
    writel(&mut pc, 1, 0xFEE0_00B0, 0);
    assert!(!pc.interrupt_pending(Time(1)));
}

#[test]
fn a_level_that_came_while_the_apic_was_disabled_is_taken_when_it_is_enabled() {
    let mut pc = with_apic();
    route(&mut pc, 4, 0x8064);
    writel(&mut pc, 0, 0xFEE0_00F0, 0xFF);
    outb(&mut pc, 0, 0x3F9, 0x01);
    pc.console_input(Time(1), b"x");
    assert!(!pc.interrupt_pending(Time(1)));
    writel(&mut pc, 2, 0xFEE0_00F0, 0x1FF);
    assert!(pc.interrupt_pending(Time(2)));
}

#[test]
fn the_apic_timer_has_a_deadline_unless_its_class_is_held_back() {
    let mut pc = with_apic();
    writel(&mut pc, 0, 0xFEE0_03E0, 0xB);
    writel(&mut pc, 0, 0xFEE0_0320, 0x40);
    writel(&mut pc, 0, 0xFEE0_0380, 5000);
    assert_eq!(pc.next_deadline(), Some(Time(5000)));
    let base = 0xFEE0_0900;
    pc.apic_state(Time(10), ApicState { base, cr8: 4 });
    assert_eq!((pc.next_deadline(), readl(&mut pc, 10, 0xFEE0_0080)), (None, 0x40));
    pc.apic_state(Time(20), ApicState { base, cr8: 0 });
    assert!(!pc.interrupt_pending(Time(4999)));
    assert!(pc.interrupt_pending(Time(5000)));
    assert_eq!(pc.acknowledge_interrupt(Time(5000)), 0x40);
}

#[test]
fn an_nmi_from_the_timer_is_a_deadline_for_a_cpu_that_is_deaf() {
    let mut pc = with_apic();
    assert_eq!(pc.next_nmi(), None);
    route(&mut pc, 2, 0x400);
    let deadline = pc.next_nmi().unwrap_or_default();
    assert_eq!(pc.next_deadline(), Some(deadline));
    assert!(!pc.interrupt_pending(deadline), "it is no interrupt");
    assert!(pc.nmi_pending());
    pc.acknowledge_nmi();
    assert!(!pc.nmi_pending());
}

#[test]
fn the_8259a_as_lint0_interrupts_with_the_vector_of_that_entry() {
    let mut pc = with_apic();
    writel(&mut pc, 0, 0xFEE0_0350, 0x31);
    outb(&mut pc, 0, 0x21, 0xFE);
    let deadline = pc.next_deadline().unwrap_or_default();
    assert!(pc.interrupt_pending(deadline));
    assert_eq!(pc.acknowledge_interrupt(deadline), 0x31);
}

#[test]
fn an_init_to_itself_is_a_reset() {
    let mut pc = with_apic();
    writel(&mut pc, 0, 0xFEE0_0300, 0x4500);
    assert_eq!(pc.take_request(), Some(Request::Reset));
}

#[test]
fn a_guest_that_writes_everything_to_both_apics_breaks_nothing() {
    let mut pc = with_apic();
    let mut state = 7u64;
    for step in 0..200_000u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = state >> 16;
        let now = Time(step * (bits >> 30 & 0xFF_FFFF));
        let page = if bits & 1 == 0 { 0xFEE0_0000 } else { 0xFEC0_0000 };
        let address = Gpa(page + (bits >> 4 & 0xFFF & if bits & 2 == 0 { 0xFF0 } else { 0xFFF }));
        let mut data = state.to_be_bytes();
        match bits >> 40 & 7 {
            0 => {
                pc.mmio_read(now, address, &mut data[..4]);
            }
            1 => {
                pc.mmio_read(now, address, &mut data);
            }
            2 => {
                pc.mmio_write(now, address, &data);
            }
            3 => pc.apic_state(now, ApicState { base: bits & 0xFEE0_0F00, cr8: bits as u8 & 15 }),
            4 => {
                pc.msr_write(now, 0x800 + (bits >> 8 & 0x3F) as u32, bits >> 20);
            }
            _ => {
                pc.mmio_write(now, address, &data[..4]);
            }
        }
        if pc.interrupt_pending(now) {
            pc.acknowledge_interrupt(now);
        }
        pc.acknowledge_nmi();
        pc.next_deadline();
        pc.next_nmi();
        pc.take_request();
    }
}
