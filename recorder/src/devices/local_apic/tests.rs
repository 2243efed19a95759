//! What chapter 11 of the SDM says of a local APIC.

use super::*;
use crate::platform::MsrAnswer::{GeneralProtection, Value};

const NOW: Time = Time(0);

fn write(apic: &mut LocalApic, now: u64, offset: u64, value: u32) {
    apic.mmio_write(Time(now), offset, &value.to_le_bytes());
}

fn read(apic: &mut LocalApic, now: u64, offset: u64) -> u32 {
    let mut data = [0; 4];
    apic.mmio_read(Time(now), offset, &mut data);
    u32::from_le_bytes(data)
}

/// Enabled, LINT0 masked, no interrupt anywhere.
fn enabled() -> LocalApic {
    let mut apic = LocalApic::default();
    write(&mut apic, 0, 0xF0, 0x1FF);
    write(&mut apic, 0, 0x350, 0x1_0000);
    apic
}

fn message(vector: u8) -> InterruptMessage {
    InterruptMessage {
        vector,
        mode: DeliveryMode::Fixed,
        level: false,
        destination: Destination::Physical(0),
    }
}

/// In x2APIC mode.
fn x2apic() -> LocalApic {
    let mut apic = enabled();
    apic.set_base(DEFAULT_ADDRESS | BASE_ENABLE | BASE_X2APIC | BASE_BSP);
    apic
}

#[test]
fn a_higher_class_interrupts_a_lower_one_and_the_same_class_waits_for_the_eoi() {
    let mut apic = enabled();
    assert!(apic.accept(&message(0x45)));
    assert_eq!(apic.acknowledge(), 0x45);
    apic.accept(&message(0x4F));
    assert!(!apic.interrupt(), "the same class");
    apic.accept(&message(0x51));
    assert_eq!(apic.acknowledge(), 0x51);
    write(&mut apic, 0, 0xB0, 0);
    assert!(!apic.interrupt(), "0x45 is still in service");
    write(&mut apic, 0, 0xB0, 0);
    assert_eq!(apic.acknowledge(), 0x4F);
}

#[test]
fn the_task_priority_holds_back_its_class_and_those_below() {
    let mut apic = enabled();
    write(&mut apic, 0, 0x80, 0x4F);
    apic.accept(&message(0x45));
    assert!(!apic.interrupt());
    write(&mut apic, 0, 0x80, 0x3F);
    assert!(apic.interrupt());
}

#[test]
fn processor_priority_is_the_higher_of_task_and_service() {
    let mut apic = enabled();
    apic.accept(&message(0x45));
    apic.acknowledge();
    assert_eq!(read(&mut apic, 0, 0xA0), 0x40);
    write(&mut apic, 0, 0x80, 0x4C);
    assert_eq!(read(&mut apic, 0, 0xA0), 0x4C);
    write(&mut apic, 0, 0x80, 0x3C);
    assert_eq!(read(&mut apic, 0, 0xA0), 0x40);
}

#[test]
fn cr8_is_the_class_of_the_task_priority() {
    let mut apic = enabled();
    apic.set_cr8(7);
    assert_eq!(read(&mut apic, 0, 0x80), 0x70);
    write(&mut apic, 0, 0x80, 0x25);
    assert_eq!(apic.cr8(), 2);
    apic.set_cr8(2);
    assert_eq!(read(&mut apic, 0, 0x80), 0x25, "being told what it has changes nothing");
}

#[test]
fn a_vector_moves_from_irr_to_isr_to_nowhere() {
    let mut apic = enabled();
    apic.accept(&message(0xA3));
    assert_eq!((read(&mut apic, 0, 0x250), read(&mut apic, 0, 0x150)), (8, 0));
    apic.acknowledge();
    assert_eq!((read(&mut apic, 0, 0x250), read(&mut apic, 0, 0x150)), (0, 8));
    write(&mut apic, 0, 0xB0, 0);
    assert_eq!((read(&mut apic, 0, 0x250), read(&mut apic, 0, 0x150)), (0, 0));
}

#[test]
fn only_level_triggered_vectors_are_told_to_the_io_apic() {
    let mut apic = enabled();
    for (level, ended) in [(true, Some(0x60)), (false, None)] {
        apic.accept(&InterruptMessage { level, ..message(0x60) });
        assert_eq!(read(&mut apic, 0, 0x1B0), u32::from(level), "TMR");
        apic.acknowledge();
        write(&mut apic, 0, 0xB0, 0);
        assert_eq!(apic.take_ended(), ended);
    }
}

#[test]
fn an_interrupt_that_went_away_is_spurious_and_needs_no_eoi() {
    let mut apic = enabled();
    apic.accept(&message(0x45));
    write(&mut apic, 0, 0x80, 0xFF);
    assert_eq!(apic.acknowledge(), 0xFF);
    assert_eq!((0..8).map(|i| read(&mut apic, 0, 0x100 + i * 16)).sum::<u32>(), 0);
}

#[test]
fn disabled_by_software_it_takes_no_vectors_masks_its_entries_and_still_takes_nmi() {
    let mut apic = enabled();
    write(&mut apic, 0, 0x320, 0x40);
    write(&mut apic, 0, 0xF0, 0xFF);
    assert_eq!(read(&mut apic, 0, 0x320), 0x1_0040);
    write(&mut apic, 0, 0x320, 0x40);
    assert_eq!(read(&mut apic, 0, 0x320), 0x1_0040, "the mask cannot be cleared");
    assert!(!apic.accept(&message(0x45)));
    assert!(apic.accept(&InterruptMessage { mode: DeliveryMode::Nmi, ..message(0) }));
    assert!(apic.nmi());
}

#[test]
fn the_timer_interrupts_at_its_deadline_and_masked_it_is_lost() {
    let mut apic = enabled();
    write(&mut apic, 0, 0x3E0, 0xB);
    write(&mut apic, 0, 0x320, 0x40);
    write(&mut apic, 100, 0x380, 1000);
    assert_eq!(apic.deadline(), Some(Time(1100)));
    apic.fire(Time(1099));
    assert!(!apic.interrupt());
    apic.fire(Time(1100));
    assert_eq!(apic.acknowledge(), 0x40);
    write(&mut apic, 2000, 0xB0, 0);
    write(&mut apic, 2000, 0x320, 0x1_0040);
    write(&mut apic, 2000, 0x380, 1000);
    assert_eq!(apic.deadline(), None);
    write(&mut apic, 4000, 0x320, 0x40);
    assert!(!apic.interrupt());
}

#[test]
fn a_timer_whose_class_is_held_back_is_nothing_to_wait_for() {
    let mut apic = enabled();
    write(&mut apic, 0, 0x320, 0x40);
    assert!(apic.notices_timer());
    apic.set_cr8(4);
    assert!(!apic.notices_timer());
}

#[test]
fn a_command_to_itself_is_an_interrupt_and_one_to_others_is_not() {
    for (high, low, comes) in [
        (0, 0x4_4055, true),          // self
        (0, 0x8_4055, true),          // all including self
        (0, 0xC_4055, false),         // all but self
        (0, 0x4055, true),            // id 0
        (0xFF00_0000, 0x4055, true),  // broadcast
        (0x0100_0000, 0x4055, false), // id 1
        (0x0200_0000, 0x4855, true),  // logical, a set that it is in
        (0x0100_0000, 0x4855, false), // logical, a set that it is not in
        (0, 0x4_4155, true),          // lowest priority
    ] {
        let mut apic = enabled();
        write(&mut apic, 0, 0xD0, 0x0200_0000);
        write(&mut apic, 0, 0x310, high);
        write(&mut apic, 0, 0x300, low);
        assert_eq!(apic.interrupt(), comes, "{high:#x} {low:#x}");
    }
}

#[test]
fn logical_destinations_in_the_cluster_model_name_a_cluster_and_a_member() {
    let mut apic = enabled();
    write(&mut apic, 0, 0xE0, 0x0FFF_FFFF);
    write(&mut apic, 0, 0xD0, 0x2400_0000);
    for (set, is_me) in [(0x24, true), (0x2C, true), (0x28, false), (0x14, false), (0xF4, true)] {
        let to = InterruptMessage { destination: Destination::Logical(set), ..message(0x55) };
        assert_eq!(apic.notices(&to), is_me, "{set:#x}");
    }
}

#[test]
fn nmi_and_init_by_command_are_what_they_say_and_the_de_assert_is_nothing() {
    let mut apic = enabled();
    write(&mut apic, 0, 0x300, 0x4_4400);
    assert!(apic.nmi());
    apic.acknowledge_nmi();
    assert!(!apic.nmi());
    write(&mut apic, 0, 0x300, 0x8_8500);
    assert!(!apic.take_init(), "level de-assert");
    write(&mut apic, 0, 0x300, 0xC_4500);
    write(&mut apic, 0, 0x300, 0xC_4608);
    assert!(!apic.take_init(), "to the others, as firmware starts them");
    write(&mut apic, 0, 0x300, 0x4500);
    assert!(apic.take_init());
}

#[test]
fn illegal_vectors_and_registers_are_errors_that_a_write_makes_visible() {
    let mut apic = enabled();
    write(&mut apic, 0, 0x370, 0xFE);
    write(&mut apic, 0, 0x300, 0x4_4005);
    assert_eq!(apic.acknowledge(), 0xFE, "the error interrupt");
    apic.accept(&message(7));
    read(&mut apic, 0, 0x3D0);
    assert_eq!(read(&mut apic, 0, 0x280), 0);
    write(&mut apic, 0, 0x280, 0);
    assert_eq!(read(&mut apic, 0, 0x280), 0xE0);
    write(&mut apic, 0, 0x280, 0);
    assert_eq!(read(&mut apic, 0, 0x280), 0);
}

#[test]
fn an_illegal_vector_in_the_error_entry_does_not_recurse() {
    let mut apic = enabled();
    write(&mut apic, 0, 0x370, 0x0F);
    write(&mut apic, 0, 0x300, 0x4_4005);
    assert!(!apic.interrupt());
}

#[test]
fn switched_on_it_passes_the_8259a_through_and_lint0_can_close_that() {
    let mut apic = LocalApic::default();
    assert!(apic.passes_extint());
    write(&mut apic, 0, 0xF0, 0x1FF);
    assert!(apic.passes_extint());
    write(&mut apic, 0, 0x350, 0x1_0700);
    assert!(!apic.passes_extint());
    apic.set_base(DEFAULT_ADDRESS);
    assert!(apic.passes_extint(), "disabled altogether");
    assert_eq!(apic.address(), None);
    apic.set_base(DEFAULT_ADDRESS | BASE_ENABLE);
    assert!(!apic.passes_extint(), "enabled again, its entries are as reset leaves them");
}

#[test]
fn lint0_as_a_fixed_interrupt_or_nmi_requests_at_each_rising_edge() {
    let mut apic = enabled();
    write(&mut apic, 0, 0x350, 0x31);
    apic.set_lint0(true);
    assert_eq!(apic.acknowledge(), 0x31);
    write(&mut apic, 0, 0xB0, 0);
    apic.set_lint0(true);
    assert!(!apic.interrupt());
    write(&mut apic, 0, 0x350, 0x400);
    apic.set_lint0(false);
    apic.set_lint0(true);
    assert!(apic.nmi() && !apic.interrupt());
}

#[test]
fn the_page_can_be_moved_and_only_aligned_doublewords_write() {
    let mut apic = enabled();
    apic.set_base(0xD000_0000 | BASE_ENABLE);
    assert_eq!(apic.address(), Some(0xD000_0000));
    apic.mmio_write(NOW, 0x80, &[0x20]);
    apic.mmio_write(NOW, 0x84, &[0x20, 0, 0, 0]);
    apic.mmio_write(NOW, 0x80, &[0x20, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(read(&mut apic, 0, 0x80), 0);
    let mut byte = [0xAA];
    apic.mmio_read(NOW, 0x32, &mut byte);
    assert_eq!(byte, [5], "byte 2 of the version register");
}

#[test]
fn entries_keep_their_writable_bits_only() {
    let mut apic = enabled();
    for (offset, kept) in [(0x320, 0x3_00FF), (0x330, 0x1_07FF), (0x350, 0x1_A7FF), (0x370, 0x1_00FF)] {
        write(&mut apic, 0, offset, 0xFFFF_FFFF);
        assert_eq!(read(&mut apic, 0, offset), kept, "{offset:#x}");
    }
}

#[test]
fn x2apic_registers_are_msrs_and_exist_in_that_mode_only() {
    assert_eq!(enabled().msr_read(NOW, 0x02), GeneralProtection);
    let mut apic = x2apic();
    assert_eq!(apic.address(), None);
    assert_eq!(apic.msr_read(NOW, 0x02), Value(0));
    assert_eq!(apic.msr_read(NOW, 0x0D), Value(1), "the logical id follows from the id");
    assert_eq!(apic.msr_write(NOW, 0x3F, 0x55), Value(0x55));
    assert_eq!(apic.acknowledge(), 0x55);
    assert_eq!(apic.msr_write(NOW, 0x0B, 0), Value(0));
    assert_eq!(apic.msr_read(NOW, 0x12), Value(0));
    apic.msr_write(NOW, 0x30, 0x1_0000_0000 | 0x4066);
    assert!(!apic.interrupt(), "to id 1");
    apic.msr_write(NOW, 0x30, 0x4066);
    assert!(apic.interrupt());
}

#[test]
fn x2apic_refuses_reserved_bits_absent_registers_and_the_wrong_direction() {
    let mut apic = x2apic();
    for (register, value) in [
        (0x02, 0),           // id: read-only
        (0x0A, 0),           // processor priority: read-only
        (0x0B, 1),           // EOI: only 0
        (0x0D, 1),           // logical id: read-only
        (0x0E, 0xFFFF_FFFF), // destination format: absent
        (0x28, 1),           // error status: only 0
        (0x31, 0),           // command, high half: part of 0x30
        (0x39, 0),           // current count: read-only
        (0x08, 0x100),       // task priority: reserved bits
        (0x32, 1 << 18),     // timer: TSC-deadline mode
        (0x3D, 0),
    ] {
        assert_eq!(apic.msr_write(NOW, register, value), GeneralProtection, "{register:#x}");
    }
    for register in [0x00, 0x0B, 0x0E, 0x31, 0x3F] {
        assert_eq!(apic.msr_read(NOW, register), GeneralProtection, "{register:#x}");
    }
}

#[test]
fn every_register_that_can_be_read_has_a_name() {
    let apic = enabled();
    for register in 0..=255 {
        let named = NAMES.iter().any(|(start, end, _)| (*start..*end).contains(&register));
        let exists = apic.read(NOW, register).is_ok();
        assert!(named == exists || register == 0x3F, "{register:#x}");
    }
}
