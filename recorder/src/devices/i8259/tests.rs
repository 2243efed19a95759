//! What the 8259A data sheet says of one controller.

use super::*;

/// Initialized as a master in 8086 mode, vectors from 0x20, with these ICW4 bits.
fn ready(icw4: u8) -> I8259 {
    let mut pic = I8259::new(true);
    for (a0, value) in [(0, 0x11), (1, 0x20), (1, 0x04), (1, 0x01 | icw4)] {
        pic.write(a0, value);
    }
    pic
}

fn rise(pic: &mut I8259, line: u8) {
    pic.set_line(line, false);
    pic.set_line(line, true);
}

#[test]
fn a_lower_number_interrupts_a_higher_one_and_not_the_reverse() {
    let mut pic = ready(0);
    rise(&mut pic, 4);
    assert_eq!(pic.acknowledge(), Some(4));
    rise(&mut pic, 6);
    assert_eq!(pic.pending(), None);
    rise(&mut pic, 1);
    assert_eq!(pic.acknowledge(), Some(1));
    pic.write(0, 0x20);
    assert_eq!(pic.pending(), None, "the EOI ended 1, the highest, not 4");
    pic.write(0, 0x20);
    assert_eq!(pic.pending(), Some(6));
}

#[test]
fn an_edge_line_that_stays_high_requests_only_once() {
    let mut pic = ready(0);
    rise(&mut pic, 3);
    pic.acknowledge();
    pic.write(0, 0x20);
    assert_eq!(pic.pending(), None);
    rise(&mut pic, 3);
    assert_eq!(pic.pending(), Some(3));
}

#[test]
fn a_level_line_requests_again_after_eoi_until_it_falls() {
    let mut pic = ready(0);
    pic.set_level_control(1 << 5);
    pic.set_line(5, true);
    assert_eq!(pic.acknowledge(), Some(5));
    pic.write(0, 0x20);
    assert_eq!(pic.pending(), Some(5));
    pic.set_line(5, false);
    assert_eq!(pic.pending(), None);
}

#[test]
fn timer_keyboard_and_cascade_cannot_be_made_level_triggered() {
    let mut pic = ready(0);
    pic.set_level_control(0xFF);
    assert_eq!(pic.level_control(), 0xF8);
    let mut slave = I8259::new(false);
    slave.set_level_control(0xFF);
    assert_eq!(slave.level_control(), 0xDE);
}

#[test]
fn a_request_that_falls_before_the_acknowledge_is_gone() {
    let mut pic = ready(0);
    rise(&mut pic, 1);
    pic.set_line(1, false);
    assert_eq!(pic.acknowledge(), None);
    assert_eq!(pic.read(0), 0, "IRR");
}

#[test]
fn initialization_clears_mask_and_latched_edges_and_wants_a_new_edge() {
    let mut pic = ready(0);
    pic.write(1, 0xFF);
    rise(&mut pic, 4);
    for (a0, value) in [(0, 0x11), (1, 0x30), (1, 0x04), (1, 0x01)] {
        pic.write(a0, value);
    }
    assert_eq!(pic.read(1), 0, "IMR");
    assert_eq!(pic.pending(), None);
    rise(&mut pic, 4);
    assert_eq!(pic.acknowledge().map(|line| pic.vector(line)), Some(0x34));
}

#[test]
fn icw1_without_ic4_or_cascade_skips_those_words_and_their_functions() {
    let mut pic = ready(ICW4_AUTO_EOI);
    pic.write(0, 0x12);
    pic.write(1, 0x40);
    pic.write(1, 0xA5);
    assert_eq!(pic.read(1), 0xA5, "the word after ICW2 is already the mask");
    pic.write(1, 0);
    rise(&mut pic, 0);
    pic.acknowledge();
    pic.write(0, 0x0B);
    assert_eq!(pic.read(0), 1, "without ICW4 there is no automatic EOI");
}

#[test]
fn automatic_eoi_leaves_nothing_in_service() {
    let mut pic = ready(ICW4_AUTO_EOI);
    rise(&mut pic, 4);
    assert_eq!(pic.acknowledge(), Some(4));
    pic.write(0, 0x0B);
    assert_eq!(pic.read(0), 0);
    rise(&mut pic, 6);
    assert_eq!(pic.pending(), Some(6));
}

#[test]
fn rotation_in_automatic_eoi_gives_every_line_its_turn() {
    let mut pic = ready(ICW4_AUTO_EOI);
    pic.write(0, 0x80);
    let mut order = Vec::new();
    for _ in 0..4 {
        rise(&mut pic, 3);
        rise(&mut pic, 4);
        order.extend(pic.acknowledge());
    }
    assert_eq!(order, [3, 4, 3, 4]);
}

#[test]
fn rotation_on_eoi_makes_the_served_line_the_lowest() {
    let mut pic = ready(0);
    rise(&mut pic, 4);
    pic.acknowledge();
    pic.write(0, 0xA0);
    rise(&mut pic, 4);
    rise(&mut pic, 3);
    rise(&mut pic, 5);
    assert_eq!(pic.acknowledge(), Some(5));
}

#[test]
fn set_priority_chooses_the_bottom_and_a_specific_rotation_ends_its_line() {
    let mut pic = ready(0);
    pic.write(0, 0xC5);
    rise(&mut pic, 0);
    rise(&mut pic, 6);
    assert_eq!(pic.acknowledge(), Some(6));
    pic.write(0, 0xE6);
    pic.write(0, 0x0B);
    assert_eq!(pic.read(0), 0, "line 6 is no longer in service");
    assert_eq!(pic.acknowledge(), Some(0));
}

#[test]
fn a_specific_eoi_ends_exactly_the_line_it_names() {
    let mut pic = ready(0);
    rise(&mut pic, 5);
    pic.acknowledge();
    rise(&mut pic, 2);
    pic.acknowledge();
    pic.write(0, 0x65);
    pic.write(0, 0x0B);
    assert_eq!(pic.read(0), 1 << 2);
}

#[test]
fn special_mask_mode_lets_lower_lines_interrupt_a_masked_one_in_service() {
    let mut pic = ready(0);
    rise(&mut pic, 1);
    pic.acknowledge();
    pic.write(1, 1 << 1);
    rise(&mut pic, 6);
    assert_eq!(pic.pending(), None);
    pic.write(0, 0x68);
    assert_eq!(pic.acknowledge(), Some(6));
    pic.write(0, 0x20);
    pic.write(0, 0x0B);
    assert_eq!(pic.read(0), 1 << 1, "a non-specific EOI passes over the masked line");
    pic.write(0, 0x48);
    rise(&mut pic, 6);
    assert_eq!(pic.pending(), None);
}

#[test]
fn special_fully_nested_mode_lets_the_slave_interrupt_itself_but_nothing_lower() {
    let mut pic = ready(ICW4_SPECIAL_FULLY_NESTED);
    rise(&mut pic, CASCADE);
    pic.acknowledge();
    rise(&mut pic, 3);
    assert_eq!(pic.pending(), None);
    rise(&mut pic, CASCADE);
    assert_eq!(pic.pending(), Some(CASCADE));
    let mut plain = ready(0);
    rise(&mut plain, CASCADE);
    plain.acknowledge();
    rise(&mut plain, CASCADE);
    assert_eq!(plain.pending(), None);
}

#[test]
fn a_poll_acknowledges_and_says_when_there_was_nothing() {
    let mut pic = ready(0);
    pic.write(0, 0x0C);
    assert_eq!(pic.read(0), 0x00);
    rise(&mut pic, 3);
    pic.write(0, 0x0C);
    assert_eq!(pic.read(0), 0x83);
    pic.write(0, 0x0B);
    assert_eq!(pic.read(0), 1 << 3);
    assert_eq!(pic.read(1), 0, "one poll command, one poll");
}

#[test]
fn masked_requests_are_visible_in_irr_and_come_through_when_unmasked() {
    let mut pic = ready(0);
    pic.write(1, 1 << 4);
    rise(&mut pic, 4);
    assert_eq!((pic.pending(), pic.read(0)), (None, 1 << 4));
    pic.write(1, 0);
    assert_eq!(pic.pending(), Some(4));
}
