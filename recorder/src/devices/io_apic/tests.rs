//! What the data sheet of the 82093AA says.

use super::*;

fn write(apic: &mut IoApic, index: u8, value: u32) {
    apic.write(0x00, &[index, 0, 0, 0]);
    apic.write(0x10, &value.to_le_bytes());
}

fn read(apic: &mut IoApic, index: u8) -> u32 {
    apic.write(0x00, &[index]);
    let mut data = [0; 4];
    apic.read(0x10, &mut data);
    u32::from_le_bytes(data)
}

fn requests(apic: &IoApic) -> Vec<(u8, u8)> {
    apic.requests().map(|(pin, message)| (pin, message.vector)).collect()
}

#[test]
fn after_reset_every_pin_is_masked_and_there_are_24() {
    let mut apic = IoApic::default();
    assert_eq!(read(&mut apic, 1), 0x0017_0011);
    for pin in 0..PINS {
        assert_eq!(read(&mut apic, 0x10 + pin * 2), 0x1_0000);
        assert_eq!(apic.set_pin(pin, true), None);
    }
    assert_eq!(read(&mut apic, 0x10 + PINS * 2), 0, "there is no entry 24");
    assert_eq!(read(&mut apic, 0x0F), 0);
}

#[test]
fn an_edge_is_one_message_with_what_the_entry_says() {
    let mut apic = IoApic::default();
    write(&mut apic, 0x19, 0x0300_0000);
    write(&mut apic, 0x18, 0x0000_0964);
    let expected = InterruptMessage {
        vector: 0x64,
        mode: DeliveryMode::Fixed,
        level: false,
        destination: Destination::Logical(3),
    };
    assert_eq!(apic.set_pin(4, true), Some(expected));
    assert_eq!(apic.set_pin(4, true), None, "no edge");
    apic.set_pin(4, false);
    assert_eq!(apic.pulse(4), Some(expected));
    assert_eq!(requests(&apic), []);
}

#[test]
fn an_edge_on_a_masked_pin_is_not_held() {
    let mut apic = IoApic::default();
    apic.set_pin(4, true);
    write(&mut apic, 0x18, 0x64);
    assert_eq!((requests(&apic), apic.set_pin(4, true)), (vec![], None));
}

#[test]
fn a_level_asks_until_it_is_taken_and_again_after_the_eoi() {
    let mut apic = IoApic::default();
    write(&mut apic, 0x18, 0x8064);
    assert_eq!(apic.set_pin(4, true), None);
    assert_eq!(requests(&apic), [(4, 0x64)]);
    apic.taken(4);
    assert_eq!((requests(&apic), read(&mut apic, 0x18)), (vec![], 0xC064));
    apic.end_of_interrupt(0x65);
    assert_eq!(requests(&apic), []);
    apic.end_of_interrupt(0x64);
    assert_eq!(requests(&apic), [(4, 0x64)]);
    apic.set_pin(4, false);
    assert_eq!(requests(&apic), []);
}

#[test]
fn a_masked_level_asks_when_it_is_unmasked() {
    let mut apic = IoApic::default();
    write(&mut apic, 0x18, 0x1_8064);
    apic.set_pin(4, true);
    assert_eq!(requests(&apic), []);
    write(&mut apic, 0x18, 0x8064);
    assert_eq!(requests(&apic), [(4, 0x64)]);
}

#[test]
fn switching_to_edge_and_back_clears_remote_irr_and_nothing_else_does() {
    let mut apic = IoApic::default();
    write(&mut apic, 0x18, 0x8064);
    apic.set_pin(4, true);
    apic.taken(4);
    write(&mut apic, 0x18, 0x1_8064);
    assert_eq!(read(&mut apic, 0x18), 0x1_C064);
    write(&mut apic, 0x18, 0x1_0064);
    write(&mut apic, 0x18, 0x1_8064);
    assert_eq!(read(&mut apic, 0x18), 0x1_8064);
}

#[test]
fn an_nmi_is_an_edge_whatever_the_entry_says() {
    let mut apic = IoApic::default();
    write(&mut apic, 0x14, 0x8400);
    assert_eq!(apic.pulse(2).map(|m| (m.mode, m.level)), Some((DeliveryMode::Nmi, false)));
}

#[test]
fn reserved_and_status_bits_of_an_entry_cannot_be_written() {
    let mut apic = IoApic::default();
    write(&mut apic, 0x10, 0xFFFF_FFFF);
    write(&mut apic, 0x11, 0xFFFF_FFFF);
    assert_eq!((read(&mut apic, 0x10), read(&mut apic, 0x11)), (0x1_AFFF, 0xFF00_0000));
    write(&mut apic, 0, 0xFFFF_FFFF);
    assert_eq!(read(&mut apic, 0), 0x0F00_0000);
}

#[test]
fn pin_0_passes_the_8259a_when_it_is_extint_and_open() {
    let mut apic = IoApic::default();
    assert!(!apic.passes_extint());
    write(&mut apic, 0x10, 0x700);
    assert!(apic.passes_extint());
    write(&mut apic, 0x10, 0x1_0700);
    assert!(!apic.passes_extint());
}

#[test]
fn what_a_pin_would_send_is_nothing_while_it_is_high_masked_or_unacknowledged() {
    let mut apic = IoApic::default();
    assert_eq!(apic.would_send(8), None);
    write(&mut apic, 0x20, 0x8070);
    assert_eq!(apic.would_send(8).map(|m| m.vector), Some(0x70));
    apic.set_pin(8, true);
    assert_eq!(apic.would_send(8), None);
    apic.taken(8);
    apic.set_pin(8, false);
    assert_eq!(apic.would_send(8), None);
}
