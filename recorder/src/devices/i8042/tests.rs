//! What the PS/2 technical reference says of the keyboard controller, and what drivers probe.

use super::*;

fn command(controller: &mut I8042, command: u8, data: Option<u8>) {
    controller.write_command(command);
    if let Some(data) = data {
        controller.write_data(data);
    }
}

/// Reads until the output buffer is empty.
fn drain(controller: &mut I8042) -> Vec<u8> {
    let mut bytes = Vec::new();
    while controller.read_status() & STATUS_OUTPUT_FULL != 0 {
        bytes.push(controller.read_data());
    }
    bytes
}

#[test]
fn self_test_and_interface_tests_pass() {
    let mut controller = I8042::default();
    for (test, result) in [(0xAA, 0x55), (0xAB, 0x00), (0xA9, 0x00)] {
        command(&mut controller, test, None);
        assert_eq!(drain(&mut controller), [result]);
    }
}

#[test]
fn the_keyboards_answers_come_one_by_one_each_with_an_interrupt() {
    let mut controller = I8042::default();
    controller.write_data(0xFF);
    assert!(controller.keyboard_interrupt());
    assert_eq!(controller.read_data(), 0xFA);
    assert!(controller.keyboard_interrupt());
    assert_eq!(controller.read_data(), 0xAA);
    assert!(!controller.keyboard_interrupt());
}

#[test]
fn translation_shows_an_mf2_keyboard_as_ab_41() {
    let mut controller = I8042::default();
    controller.write_data(0xF2);
    assert_eq!(drain(&mut controller), [0xFA, 0xAB, 0x41]);
    command(&mut controller, 0x60, Some(0x05));
    controller.write_data(0xF2);
    assert_eq!(drain(&mut controller), [0xFA, 0xAB, 0x83]);
}

#[test]
fn a_disabled_keyboard_interface_holds_the_answer_back() {
    let mut controller = I8042::default();
    controller.write_data(0xF2);
    command(&mut controller, 0xAD, None);
    assert_eq!(drain(&mut controller), [0xFA], "it was in the buffer already");
    command(&mut controller, 0xAE, None);
    assert_eq!(drain(&mut controller), [0xAB, 0x41]);
}

#[test]
fn the_aux_loop_comes_back_marked_as_aux_and_interrupts_on_irq_12() {
    let mut controller = I8042::default();
    command(&mut controller, 0x60, Some(0x47));
    command(&mut controller, 0xD3, Some(0x5A));
    assert_eq!(controller.read_status() & 0x21, 0x21);
    assert_eq!((controller.aux_interrupt(), controller.keyboard_interrupt()), (true, false));
    assert_eq!(controller.read_data(), 0x5A);
    assert!(!controller.aux_interrupt());
}

#[test]
fn what_is_sent_to_the_absent_mouse_times_out() {
    let mut controller = I8042::default();
    command(&mut controller, 0xD4, Some(0xFF));
    assert_eq!(controller.read_status() & 0x61, 0x61);
    assert_eq!(controller.read_data(), 0xFE);
}

#[test]
fn the_output_port_and_port_92_share_a20_and_both_reset() {
    let mut controller = I8042::default();
    command(&mut controller, 0xD1, Some(0xDD));
    assert_eq!(controller.read_port_92() & 0x02, 0);
    controller.write_port_92(0x02);
    command(&mut controller, 0xD0, None);
    assert_eq!(controller.read_data() & 0x03, 0x03);
    assert!(!controller.take_reset());
    controller.write_port_92(0x03);
    assert!(controller.take_reset());
    for (reset, data) in [(0xD1, Some(0xFE)), (0xFE, None)] {
        command(&mut controller, reset, data);
        assert!(controller.take_reset());
    }
    command(&mut controller, 0xFF, None);
    assert!(!controller.take_reset(), "FF pulses nothing");
}

#[test]
fn the_status_tells_a_command_from_data() {
    let mut controller = I8042::default();
    command(&mut controller, 0x60, None);
    assert_eq!(controller.read_status() & STATUS_COMMAND, STATUS_COMMAND);
    controller.write_data(0x45);
    assert_eq!(controller.read_status() & STATUS_COMMAND, 0);
    command(&mut controller, 0x20, None);
    assert_eq!(drain(&mut controller), [0x45]);
}
