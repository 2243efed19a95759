//! What the MC146818A data sheet says of the clock.

use super::*;

/// 2024-02-28 23:59:50 UTC, a Wednesday before a leap day.
const EVE: i64 = 1_709_164_790;
const S: u64 = NS_PER_S;

fn clock() -> Rtc {
    Rtc::new(EVE, Memory::new(64 << 20, 0, 1))
}

fn get(rtc: &mut Rtc, now: u64, index: usize) -> u8 {
    rtc.write(Time(now), 0, index as u8);
    rtc.read(Time(now), 1)
}

fn set(rtc: &mut Rtc, now: u64, index: usize, value: u8) {
    rtc.write(Time(now), 0, index as u8);
    rtc.write(Time(now), 1, value);
}

fn date(rtc: &mut Rtc, now: u64) -> [u8; 8] {
    cmos::TIME_REGISTERS.map(|i| get(rtc, now, i))
}

#[test]
fn the_time_follows_now_in_bcd_across_a_leap_day() {
    let mut rtc = clock();
    assert_eq!(date(&mut rtc, 0), [0x50, 0x59, 0x23, 4, 0x28, 0x02, 0x24, 0x20]);
    assert_eq!(date(&mut rtc, 10 * S), [0x00, 0x00, 0x00, 5, 0x29, 0x02, 0x24, 0x20]);
    assert_eq!(date(&mut rtc, (10 + 86_400) * S), [0x00, 0x00, 0x00, 6, 0x01, 0x03, 0x24, 0x20]);
}

#[test]
fn binary_and_twelve_hour_formats_are_as_in_table_3() {
    let mut rtc = clock();
    set(&mut rtc, 0, register::B, 0x06);
    assert_eq!((get(&mut rtc, 0, register::HOURS), get(&mut rtc, 0, register::SECONDS)), (23, 50));
    set(&mut rtc, 0, register::B, 0x00);
    assert_eq!(get(&mut rtc, 0, register::HOURS), 0x91, "11 PM");
    assert_eq!(get(&mut rtc, 10 * S, register::HOURS), 0x12, "midnight is 12 AM");
    assert_eq!(get(&mut rtc, (10 + 12 * 3600) * S, register::HOURS), 0x92, "noon is 12 PM");
}

#[test]
fn set_freezes_the_registers_and_what_is_written_then_runs_on() {
    let mut rtc = clock();
    set(&mut rtc, 0, register::B, 0x82);
    assert_eq!(get(&mut rtc, 5 * S, register::SECONDS), 0x50);
    for (index, value) in [(0x32, 0x19), (0x09, 0x99), (0x08, 0x12), (0x07, 0x31), (0x06, 0x06)] {
        set(&mut rtc, 5 * S, index, value);
    }
    for (index, value) in [(0x04, 0x23), (0x02, 0x59), (0x00, 0x58)] {
        set(&mut rtc, 5 * S, index, value);
    }
    set(&mut rtc, 5 * S, register::B, 0x02);
    assert_eq!(date(&mut rtc, 7 * S), [0x00, 0x00, 0x00, 7, 0x01, 0x01, 0x00, 0x20]);
}

#[test]
fn setting_set_disables_the_update_interrupt() {
    let mut rtc = clock();
    set(&mut rtc, 0, register::B, 0x12);
    assert!(rtc.deadline().is_some());
    set(&mut rtc, 0, register::B, 0x92);
    assert_eq!((rtc.deadline(), get(&mut rtc, 0, register::B)), (None, 0x82));
}

#[test]
fn uip_is_set_before_the_update_and_falls_when_the_new_second_is_there() {
    let mut rtc = clock();
    assert_eq!(get(&mut rtc, S - UIP_NS - 1, register::A), 0x26);
    assert_eq!(get(&mut rtc, S - UIP_NS, register::A), 0xA6);
    assert_eq!((get(&mut rtc, S - 1, register::A), get(&mut rtc, S - 1, register::SECONDS)), (0xA6, 0x50));
    assert_eq!((get(&mut rtc, S, register::A), get(&mut rtc, S, register::SECONDS)), (0x26, 0x51));
}

#[test]
fn the_first_update_comes_half_a_second_after_the_divider_is_released() {
    let mut rtc = clock();
    set(&mut rtc, 300_000_000, register::A, 0x76);
    assert_eq!(get(&mut rtc, 100 * S, register::SECONDS), 0x50, "no updates in reset");
    set(&mut rtc, 100 * S, register::A, 0x26);
    assert_eq!(get(&mut rtc, 100 * S + S / 2 - 1, register::SECONDS), 0x50);
    assert_eq!(get(&mut rtc, 100 * S + S / 2, register::SECONDS), 0x51);
}

#[test]
fn the_update_interrupt_comes_with_the_new_second_and_ends_when_c_is_read() {
    let mut rtc = clock();
    set(&mut rtc, 0, register::B, 0x12);
    assert_eq!(rtc.deadline(), Some(Time(S)));
    rtc.fire(Time(S));
    assert!(rtc.interrupt());
    assert_eq!(rtc.deadline(), None, "the line is up already");
    assert_eq!(get(&mut rtc, S, register::C) & 0x90, 0x90);
    assert!(!rtc.interrupt());
    assert_eq!(get(&mut rtc, S, register::C), 0);
    assert_eq!(rtc.deadline(), Some(Time(2 * S)));
}

#[test]
fn flags_are_set_without_their_enables_but_raise_no_interrupt() {
    let mut rtc = clock();
    rtc.fire(Time(S));
    assert_eq!((rtc.interrupt(), rtc.deadline()), (false, None));
    assert_eq!(get(&mut rtc, S, register::C), C_UPDATE | C_PERIODIC);
}

#[test]
fn periodic_rates_are_those_of_table_5_without_drift() {
    for (rate, hz) in [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)] {
        let mut rtc = clock();
        set(&mut rtc, 0, register::A, 0x20 | rate);
        set(&mut rtc, 0, register::B, 0x42);
        let mut interrupts = 0;
        while let Some(deadline) = rtc.deadline().filter(|t| t.0 <= 10 * S) {
            rtc.fire(deadline);
            assert!(rtc.interrupt());
            get(&mut rtc, deadline.0, register::C);
            interrupts += 1;
        }
        assert_eq!(interrupts, 10 * hz, "rate {rate}");
    }
}

#[test]
fn an_alarm_comes_at_its_time_of_day_and_again_the_next_day() {
    let mut rtc = clock();
    for (index, value) in [(0x05, 0x00), (0x03, 0x01), (0x01, 0x30)] {
        set(&mut rtc, 0, index, value);
    }
    set(&mut rtc, 0, register::B, 0x22);
    let first = Time(100 * S);
    assert_eq!(rtc.deadline(), Some(first));
    rtc.fire(first);
    assert_eq!(get(&mut rtc, first.0, register::C) & 0xA0, 0xA0);
    assert_eq!(rtc.deadline(), Some(Time((100 + 86_400) * S)));
}

#[test]
fn dont_care_fields_make_the_alarm_hourly_or_every_second() {
    let mut rtc = clock();
    set(&mut rtc, 0, register::B, 0x22);
    for (index, value) in [(0x05, 0xFF), (0x03, 0x00), (0x01, 0x05)] {
        set(&mut rtc, 0, index, value);
    }
    assert_eq!(rtc.deadline(), Some(Time(15 * S)));
    rtc.fire(Time(15 * S));
    get(&mut rtc, 15 * S, register::C);
    assert_eq!(rtc.deadline(), Some(Time((15 + 3600) * S)));
    set(&mut rtc, 15 * S, 0x03, 0xC0);
    set(&mut rtc, 15 * S, 0x01, 0xC0);
    assert_eq!(rtc.deadline(), Some(Time(16 * S)));
}

#[test]
fn an_alarm_at_an_impossible_time_never_comes() {
    let mut rtc = clock();
    set(&mut rtc, 0, register::B, 0x22);
    set(&mut rtc, 0, register::SECONDS_ALARM, 0x61);
    assert_eq!(rtc.deadline(), None);
    set(&mut rtc, 0, register::SECONDS_ALARM, 0x1F);
    assert_eq!(rtc.deadline(), None, "1F is no BCD number that the seconds ever show");
}

#[test]
fn a_year_between_two_looks_is_seen_at_once() {
    let mut rtc = clock();
    set(&mut rtc, 0, register::B, 0x72);
    let later = 365 * 86_400 * S + 1;
    rtc.fire(Time(later));
    assert_eq!(get(&mut rtc, later, register::C), 0xF0);
    assert!(rtc.deadline().is_some_and(|t| t.0 > later));
}

#[test]
fn the_index_port_masks_the_nmi_and_cannot_be_read() {
    let mut rtc = clock();
    rtc.write(Time(0), 0, 0x8D);
    assert!(rtc.masks_nmi());
    assert_eq!((rtc.read(Time(0), 0), rtc.read(Time(0), 1)), (0xFF, 0x80));
}

#[test]
fn any_bytes_in_any_register_leave_it_working() {
    let mut rtc = clock();
    for value in 0..=255 {
        for index in 0..128 {
            set(&mut rtc, u64::from(value) * S, index, value);
            get(&mut rtc, u64::from(value) * S + index as u64, index);
            rtc.deadline();
        }
    }
    rtc.fire(Time(u64::MAX));
    rtc.deadline();
}
