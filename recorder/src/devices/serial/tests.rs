//! What the PC16550D data sheet, and Linux's 8250 driver, expect of the serial port.

use super::*;

fn port() -> SerialPort {
    SerialPort::default()
}

#[test]
fn the_identification_register_shows_the_fifos_only_once_they_are_enabled() {
    let mut com = port();
    assert_eq!(com.read(register::INTERRUPT_ID), 0x01);
    com.write(register::INTERRUPT_ID, FCR_ENABLE);
    assert_eq!(com.read(register::INTERRUPT_ID), 0xC1);
}

#[test]
fn loopback_wires_rts_and_out2_to_cts_and_carrier_as_linux_autoconfig_checks() {
    let mut com = port();
    com.write(register::MODEM_CONTROL, MCR_LOOP | MCR_OUT2 | 0x02);
    assert_eq!(com.read(register::MODEM_STATUS) & 0xF0, 0x90);
}

#[test]
fn loopback_returns_what_is_sent_and_prints_nothing() {
    let mut com = port();
    com.write(register::MODEM_CONTROL, MCR_LOOP);
    com.write(register::DATA, 0xAE);
    assert_eq!(com.read(register::LINE_STATUS) & LSR_DATA_READY, LSR_DATA_READY);
    assert_eq!(com.read(register::DATA), 0xAE);
    assert!(com.output().is_empty());
}

#[test]
fn the_upper_half_of_interrupt_enable_reads_as_zero_so_that_nobody_takes_it_for_an_xscale() {
    let mut com = port();
    com.write(register::INTERRUPT_ENABLE, 0xFF);
    assert_eq!(com.read(register::INTERRUPT_ENABLE), 0x0F);
}

#[test]
fn enabling_the_transmit_interrupt_raises_it_and_reading_its_cause_clears_it() {
    let mut com = port();
    com.write(register::INTERRUPT_ENABLE, IER_TRANSMIT_EMPTY);
    assert!(com.interrupt());
    assert_eq!(com.read(register::INTERRUPT_ID), IIR_TRANSMIT_EMPTY);
    assert!(!com.interrupt());
    com.write(register::DATA, b'x');
    assert!(com.interrupt());
}

#[test]
fn received_data_outranks_the_empty_transmitter_and_stays_until_read() {
    let mut com = port();
    com.write(register::INTERRUPT_ENABLE, IER_RECEIVED | IER_TRANSMIT_EMPTY);
    assert_eq!(com.receive(b"k"), 1);
    assert_eq!(com.read(register::INTERRUPT_ID), IIR_RECEIVED);
    assert_eq!(com.read(register::INTERRUPT_ID), IIR_RECEIVED);
    assert_eq!(com.read(register::DATA), b'k');
    assert_eq!(com.read(register::INTERRUPT_ID), IIR_TRANSMIT_EMPTY);
}

#[test]
fn fewer_bytes_than_the_trigger_level_come_as_a_timeout() {
    let mut com = port();
    com.write(register::INTERRUPT_ID, FCR_ENABLE | 0x80);
    com.write(register::INTERRUPT_ENABLE, IER_RECEIVED);
    assert_eq!(com.receive(b"1234567"), 7);
    assert_eq!(com.read(register::INTERRUPT_ID) & 0x0F, IIR_TIMEOUT);
    assert_eq!(com.receive(b"8"), 1);
    assert_eq!(com.read(register::INTERRUPT_ID) & 0x0F, IIR_RECEIVED);
}

#[test]
fn the_receiver_holds_one_byte_without_fifo_and_sixteen_with_it() {
    let mut com = port();
    assert_eq!(com.receive(&[1; 40]), 1);
    com.write(register::INTERRUPT_ID, FCR_ENABLE);
    assert_eq!(com.read(register::LINE_STATUS) & LSR_DATA_READY, 0, "enabling the FIFOs empties them");
    assert_eq!(com.receive(&[2; 40]), 16);
    com.write(register::INTERRUPT_ID, FCR_ENABLE | FCR_CLEAR_RECEIVER);
    assert_eq!(com.read(register::LINE_STATUS) & LSR_DATA_READY, 0);
}

#[test]
fn overrun_is_reported_once_with_the_highest_priority() {
    let mut com = port();
    com.write(register::MODEM_CONTROL, MCR_LOOP);
    com.write(register::INTERRUPT_ENABLE, IER_LINE_STATUS | IER_RECEIVED);
    com.write(register::DATA, 1);
    com.write(register::DATA, 2);
    assert_eq!(com.read(register::INTERRUPT_ID), IIR_LINE_STATUS);
    assert_eq!(com.read(register::LINE_STATUS) & LSR_OVERRUN, LSR_OVERRUN);
    assert_eq!(com.read(register::LINE_STATUS) & LSR_OVERRUN, 0);
}

#[test]
fn the_divisor_latch_hides_data_and_interrupt_enable() {
    let mut com = port();
    com.write(register::LINE_CONTROL, LCR_DIVISOR_LATCH);
    com.write(register::DATA, 1);
    com.write(register::INTERRUPT_ENABLE, 0);
    assert!(com.output().is_empty());
    assert_eq!(com.read(register::DATA), 1);
    com.write(register::LINE_CONTROL, 3);
    com.write(register::DATA, b'!');
    assert_eq!(com.output().as_slice(), b"!");
}

#[test]
fn emptying_the_receiver_under_the_divisor_latch_leaves_the_divisor_alone() {
    let mut com = port();
    com.write(register::INTERRUPT_ID, FCR_ENABLE);
    com.receive(b"ab");
    com.write(register::LINE_CONTROL, LCR_DIVISOR_LATCH | 3);
    com.write(register::INTERRUPT_ID, FCR_ENABLE | FCR_CLEAR_RECEIVER);
    assert_eq!(com.read(register::DATA), 0x0C, "9600 baud, as after reset");
    com.write(register::LINE_CONTROL, 3);
    assert_eq!(com.receive(b"c"), 1);
    assert_eq!(com.read(register::DATA), b'c');
}

#[test]
fn out2_gates_the_interrupt_line() {
    let mut com = port();
    com.write(register::INTERRUPT_ENABLE, IER_TRANSMIT_EMPTY);
    com.write(register::MODEM_CONTROL, 0x03);
    assert!(!com.interrupt());
    com.write(register::MODEM_CONTROL, 0x03 | MCR_OUT2);
    assert!(com.interrupt());
}

#[test]
fn ring_counts_by_its_trailing_edge_and_reading_the_status_clears_the_deltas() {
    let mut com = port();
    com.write(register::MODEM_CONTROL, MCR_LOOP);
    com.read(register::MODEM_STATUS);
    com.write(register::MODEM_CONTROL, MCR_LOOP | 0x04);
    assert_eq!(com.read(register::MODEM_STATUS) & 0x0F, 0);
    com.write(register::MODEM_CONTROL, MCR_LOOP);
    assert_eq!(com.read(register::MODEM_STATUS) & 0x0F, 0x04);
    assert_eq!(com.read(register::MODEM_STATUS) & 0x0F, 0);
}

#[test]
fn each_byte_sent_without_reading_the_cause_is_a_new_edge() {
    let mut com = port();
    com.write(register::INTERRUPT_ENABLE, IER_TRANSMIT_EMPTY);
    assert!(!com.take_fall());
    com.write(register::DATA, b'x');
    assert!(com.take_fall() && com.interrupt());
}
