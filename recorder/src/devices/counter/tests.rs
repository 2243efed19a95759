//! What the 8254 data sheet says of each mode. Ticks count from the write of the last byte of the count.

use super::*;

/// A counter in this mode with this count, written at tick 0 (loaded at tick 1).
fn started(mode: u8, count: u16) -> Counter {
    let mut counter = Counter::new(true);
    counter.control(0, 0x30 | mode << 1);
    write_count(&mut counter, 0, count);
    counter
}

fn write_count(counter: &mut Counter, tick: u64, count: u16) {
    for byte in count.to_le_bytes() {
        counter.write(tick, byte);
    }
}

fn read_count(counter: &mut Counter, tick: u64) -> u16 {
    u16::from_le_bytes([counter.read(tick), counter.read(tick)])
}

fn outputs(counter: &mut Counter, ticks: std::ops::Range<u64>) -> String {
    ticks.map(|tick| if counter.output(tick) { 'H' } else { '_' }).collect()
}

#[test]
fn mode_0_goes_high_n_plus_one_clocks_after_the_write_and_counts_on() {
    let mut counter = started(0, 4);
    assert_eq!(outputs(&mut counter, 0..8), "_____HHH");
    assert_eq!(counter.next_rise(0), Some(5));
    assert_eq!(counter.next_rise(5), None);
    assert_eq!(read_count(&mut counter, 6), 0xFFFF);
}

#[test]
fn mode_0_stops_and_goes_low_at_the_first_byte_of_a_new_count() {
    let mut counter = started(0, 4);
    counter.write(10, 2);
    assert_eq!(outputs(&mut counter, 10..12), "__");
    assert_eq!(counter.next_rise(10), None);
    counter.write(20, 0);
    assert_eq!(counter.next_rise(20), Some(23));
}

#[test]
fn the_gate_suspends_mode_0() {
    let mut counter = started(0, 10);
    counter.set_gate(5, false);
    assert_eq!(read_count(&mut counter, 100), 6);
    assert_eq!(counter.next_rise(100), None);
    counter.set_gate(100, true);
    assert_eq!(counter.next_rise(100), Some(106));
}

#[test]
fn mode_1_is_a_one_shot_that_each_trigger_starts_again() {
    let mut counter = Counter::new(false);
    counter.control(0, 0x32);
    write_count(&mut counter, 0, 3);
    assert_eq!(outputs(&mut counter, 0..4), "HHHH");
    counter.set_gate(10, true);
    assert_eq!(outputs(&mut counter, 11..16), "___HH");
    counter.set_gate(16, false);
    counter.set_gate(20, true);
    counter.set_gate(22, false);
    counter.set_gate(23, true);
    assert_eq!(outputs(&mut counter, 23..29), "____HH");
}

#[test]
fn mode_2_is_low_for_one_clock_in_n() {
    let mut counter = started(2, 3);
    assert_eq!(outputs(&mut counter, 1..10), "HH_HH_HH_");
    assert_eq!(
        (counter.next_rise(0), counter.next_rise(4), counter.next_rise(1000)),
        (Some(4), Some(7), Some(1003))
    );
    let counts: Vec<u16> = (1..7).map(|tick| read_count(&mut counter, tick)).collect();
    assert_eq!(counts, [3, 2, 1, 3, 2, 1]);
}

#[test]
fn mode_2_takes_a_new_count_at_the_end_of_the_cycle() {
    let mut counter = started(2, 10);
    write_count(&mut counter, 3, 4);
    assert_eq!(counter.next_rise(3), Some(11));
    assert_eq!(counter.next_rise(11), Some(15));
    assert_eq!(read_count(&mut counter, 10), 1);
    assert_eq!(read_count(&mut counter, 11), 4);
}

#[test]
fn a_low_gate_forces_mode_2_high_and_its_rise_starts_the_cycle_anew() {
    let mut counter = started(2, 5);
    counter.set_gate(3, false);
    assert_eq!(outputs(&mut counter, 3..12), "HHHHHHHHH");
    counter.set_gate(20, true);
    assert_eq!(outputs(&mut counter, 21..31), "HHHH_HHHH_");
}

#[test]
fn mode_3_with_an_even_count_is_a_square_wave_counting_by_two() {
    let mut counter = started(3, 4);
    assert_eq!(outputs(&mut counter, 1..9), "HH__HH__");
    let counts: Vec<u16> = (1..9).map(|tick| read_count(&mut counter, tick)).collect();
    assert_eq!(counts, [4, 2, 4, 2, 4, 2, 4, 2]);
}

#[test]
fn mode_3_with_an_odd_count_is_high_one_clock_longer() {
    let mut counter = started(3, 5);
    assert_eq!(outputs(&mut counter, 1..11), "HHH__HHH__");
    let counts: Vec<u16> = (1..6).map(|tick| read_count(&mut counter, tick)).collect();
    assert_eq!(counts, [4, 2, 0, 4, 2]);
}

#[test]
fn mode_3_takes_a_new_count_at_the_end_of_the_half_cycle() {
    let mut counter = started(3, 8);
    write_count(&mut counter, 2, 4);
    assert_eq!(outputs(&mut counter, 1..13), "HHHH__HH__HH");
    let mut counter = started(3, 8);
    write_count(&mut counter, 6, 4);
    assert_eq!(outputs(&mut counter, 1..13), "HHHH____HH__");
}

#[test]
fn the_next_edge_after_a_half_cycle_reload_is_the_new_counts() {
    let mut counter = started(3, 8);
    write_count(&mut counter, 2, 4);
    assert_eq!(counter.next_rise(2), Some(7));
    assert_eq!(counter.next_rise(7), Some(11));
}

#[test]
fn the_illegal_count_of_one_gives_no_edges_until_a_legal_one_takes_over() {
    let mut counter = started(2, 1);
    assert_eq!(counter.next_rise(5), None);
    write_count(&mut counter, 5, 10);
    assert_eq!(counter.next_rise(5), Some(16));
}

#[test]
fn mode_4_strobes_low_for_one_clock_n_plus_one_clocks_after_the_write_and_only_once() {
    let mut counter = started(4, 3);
    assert_eq!(outputs(&mut counter, 0..8), "HHHH_HHH");
    assert_eq!((counter.next_rise(0), counter.next_rise(5)), (Some(5), None));
}

#[test]
fn mode_5_strobes_after_a_trigger() {
    let mut counter = Counter::new(false);
    counter.control(0, 0x3A);
    write_count(&mut counter, 0, 2);
    assert_eq!(counter.next_rise(0), None);
    counter.set_gate(5, true);
    assert_eq!(outputs(&mut counter, 5..11), "HHH_HH");
}

#[test]
fn a_count_of_zero_is_the_largest() {
    assert_eq!(started(2, 0).next_rise(0), Some(65_537));
    let mut counter = Counter::new(true);
    counter.control(0, 0x35);
    write_count(&mut counter, 0, 0);
    assert_eq!(counter.next_rise(0), Some(10_001));
}

#[test]
fn bcd_counts_in_decimal() {
    let mut counter = Counter::new(true);
    counter.control(0, 0x31);
    write_count(&mut counter, 0, 0x0100);
    assert_eq!(read_count(&mut counter, 2), 0x0099);
    assert_eq!(read_count(&mut counter, 102), 0x9999);
    assert_eq!(counter.next_rise(0), Some(101));
}

#[test]
fn a_latched_count_stands_still_until_both_bytes_are_read() {
    let mut counter = started(2, 1000);
    counter.latch_count(11);
    counter.latch_count(300);
    assert_eq!(read_count(&mut counter, 500), 990);
    assert_eq!(read_count(&mut counter, 501), 500);
}

#[test]
fn single_byte_access_reads_and_writes_its_half() {
    let mut counter = Counter::new(true);
    counter.control(0, 0x24);
    counter.write(0, 0x12);
    assert_eq!(counter.next_rise(0), Some(0x1201));
    assert_eq!((counter.read(1), counter.read(1)), (0x12, 0x12));
    counter.control(0, 0x14);
    counter.write(0, 0x12);
    assert_eq!(counter.next_rise(0), Some(0x13));
}

#[test]
fn the_status_tells_output_null_count_access_mode_and_bcd() {
    let mut counter = Counter::new(true);
    counter.latch_status(0);
    assert_eq!(counter.read(0) & 0x40, 0, "nothing was written that could wait");
    counter.control(0, 0x31);
    counter.latch_status(0);
    assert_eq!(counter.read(0), 0x71, "no count yet, output low");
    write_count(&mut counter, 0, 0x0002);
    counter.latch_status(1);
    assert_eq!(counter.read(1), 0x31);
    counter.latch_status(3);
    assert_eq!(counter.read(3), 0xB1);
    let mut counter = started(2, 100);
    write_count(&mut counter, 50, 200);
    counter.latch_status(60);
    counter.latch_status(101);
    assert_eq!(counter.read(101), 0xF4, "the new count waits for the end of the cycle");
    counter.latch_status(101);
    assert_eq!(counter.read(101), 0xB4);
}

#[test]
fn the_latched_status_is_read_before_the_latched_count() {
    let mut counter = started(2, 1000);
    counter.latch_count(1);
    counter.latch_status(1);
    assert_eq!(counter.read(9), 0xB4);
    assert_eq!(read_count(&mut counter, 9), 1000);
}

#[test]
fn modes_6_and_7_are_2_and_3() {
    let mut counter = Counter::new(true);
    counter.control(0, 0x3C);
    counter.latch_status(0);
    assert_eq!(counter.read(0) >> 1 & 7, 2);
}

#[test]
fn every_mode_and_count_agrees_with_its_own_output_about_the_next_edge() {
    for mode in 0..6 {
        for count in 2..20 {
            let mut counter = Counter::new(false);
            counter.control(0, 0x30 | mode << 1);
            write_count(&mut counter, 0, count);
            counter.set_gate(7, true);
            for tick in 8..80 {
                if let Some(rise) = counter.next_rise(tick) {
                    let rises: Vec<u64> =
                        (tick + 1..=rise).filter(|t| !counter.output(t - 1) && counter.output(*t)).collect();
                    assert_eq!(rises, [rise], "mode {mode} count {count} tick {tick}");
                }
            }
        }
    }
}
