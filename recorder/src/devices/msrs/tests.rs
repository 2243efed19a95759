//! What the SDM says of these registers.

use super::*;

const S: u64 = 1_000_000_000;

#[test]
fn the_table_is_in_order_so_that_the_search_finds_everything() {
    assert!(REGISTERS.is_sorted_by_key(|register| register.index));
    let msrs = Msrs::new(1);
    for (index, name) in Msrs::names() {
        assert_ne!(msrs.read(Time(0), index), GeneralProtection, "{name}");
    }
}

#[test]
fn the_tsc_follows_now_and_goes_on_from_what_is_written() {
    let mut msrs = Msrs::new(2_500_000_000);
    assert_eq!(msrs.read(Time(2 * S), TSC), Value(5_000_000_000));
    msrs.write(Time(2 * S), TSC, 7);
    assert_eq!(msrs.read(Time(3 * S), TSC), Value(2_500_000_007));
}

#[test]
fn writing_the_tsc_moves_tsc_adjust_by_as_much_and_the_reverse() {
    let mut msrs = Msrs::new(1_000_000_000);
    msrs.write(Time(100), TSC, 150);
    assert_eq!(msrs.read(Time(100), TSC_ADJUST), Value(50));
    msrs.write(Time(100), TSC_ADJUST, 0);
    assert_eq!(msrs.read(Time(100), TSC), Value(100));
    msrs.write(Time(100), TSC, 0);
    assert_eq!(msrs.read(Time(100), TSC_ADJUST), Value(100u64.wrapping_neg()));
}

#[test]
fn aperf_and_mperf_advance_together_so_that_the_frequency_is_the_nominal_one() {
    let mut msrs = Msrs::new(3_000_000_000);
    msrs.write(Time(0), MPERF, 0);
    msrs.write(Time(10), APERF, 0);
    let (Value(mperf), Value(aperf)) = (msrs.read(Time(S), MPERF), msrs.read(Time(S), APERF)) else {
        unreachable!("both exist");
    };
    assert_eq!((mperf, aperf), (3_000_000_000, 2_999_999_970));
}

#[test]
fn a_locked_feature_control_and_other_read_only_registers_refuse_every_write() {
    let mut msrs = Msrs::new(1);
    for index in [0x3A, 0x34, 0x179, PLATFORM_INFO, MPERF_READ_ONLY] {
        assert_eq!(msrs.write(Time(0), index, 0), GeneralProtection, "{index:#x}");
    }
}

#[test]
fn reserved_bits_raise_gp_and_leave_the_register_alone() {
    let mut msrs = Msrs::new(1);
    msrs.write(Time(0), 0x48, 0x5);
    assert_eq!(msrs.write(Time(0), 0x48, 0x8), GeneralProtection);
    assert_eq!(msrs.read(Time(0), 0x48), Value(0x5));
}

#[test]
fn a_prediction_barrier_is_taken_and_leaves_nothing_behind() {
    let mut msrs = Msrs::new(1);
    assert_ne!(msrs.write(Time(0), 0x49, 1), GeneralProtection);
    assert_eq!(msrs.read(Time(0), 0x49), Value(0));
}

#[test]
fn performance_counters_and_unknown_registers_are_absent() {
    let mut msrs = Msrs::new(1);
    for index in [0xC1, 0x186, 0x38F, 0x122, 0xC001_0000, 0x4B56_4D01, 0xFFFF_FFFF] {
        assert_eq!(msrs.read(Time(0), index), GeneralProtection);
        assert_eq!(msrs.write(Time(0), index, 0), GeneralProtection);
    }
}

#[test]
fn platform_information_gives_the_ratio_to_100_mhz() {
    assert_eq!(Msrs::new(2_400_000_000).read(Time(0), PLATFORM_INFO), Value(24 << 8 | 24 << 40));
}
