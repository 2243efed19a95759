//! Every assembly guest under every clock: recorded, replayed, and compared byte by byte.

use crate::support::compare::assert_same_machine;
use crate::support::host::{Extent, Host, host};
use crate::support::plain::Plain;
use crate::support::recorded::{RAM, Recorded, reason, record, record_preempted};
use crate::support::replayed::replay;
use trapline_formats::ClockMode;
use trapline_guests::{Ends, Guest};

macro_rules! matrix {
    ($($guest:ident)*) => {
        $(mod $guest {
            #[test]
            fn replays_exactly_under_the_host_clock() {
                super::host_clock(&trapline_guests::$guest());
            }

            #[test]
            fn replays_exactly_and_records_identically_under_the_virtual_clock() {
                super::virtual_clock(&trapline_guests::$guest());
            }

            #[test]
            fn replays_exactly_with_interrupts_between_exits() {
                super::positions(&trapline_guests::$guest());
            }
        })*

        #[test]
        fn every_guest_is_in_the_matrix() {
            let names: Vec<_> = trapline_guests::all().iter().map(|g| g.name).collect();
            assert_eq!(names, [$(stringify!($guest)),*]);
        }
    };
}

matrix! {
    demo port64 ports_16 ports_32 ports_64 string_ports_16 string_ports_32 string_ports_64 mmio_32 mmio_64 mmio_wide_32
    mmio_wide_64 mmio_string_32 mmio_string_64 calls_16 calls_32 calls_64 msrs_16 msrs_32 msrs_64
    msrs_refused_16 msrs_refused_32 msrs_refused_64
    tsc_16 tsc_32 tsc_64 timer_hlt_16 timer_hlt_32 timer_hlt_64 slow_timer_64 timer_window_16 timer_window_32 timer_window_64
    timer_exits_16 timer_exits_32 timer_exits_64 shadow_16 shadow_32 shadow_64 ivt_16
    software_interrupts_16 software_interrupts_32 software_interrupts_64 fpu_32 fpu_64 popcnt_32 popcnt_64
    access_check_16 access_check_32 access_check_64 faults_32 faults_64 sse_32 sse_64 mmio_sse_32 mmio_sse_64
    xsave_32 xsave_64 sse4a_64 rdtscp_32 rdtscp_64 random_16 random_32 random_64 int_nowhere_32 int_nowhere_64
    cmpxchg16b_64
    halt_16 halt_32 halt_64 idle_64
    triple_fault_32 triple_fault_64 spin_16 spin_64 echo_16 echo_32 echo_64 echo_irq_64 escapes_64 unknown_16 unknown_32
    unknown_64 pages_32 pages_64 keyboard_reset_16 keyboard_reset_64 power_off_16 power_off_64 exit_code_64 cr8_64 xmm_32
    xmm_64 cpuid_16 cpuid_32 cpuid_64
    apic_timer_32 apic_timer_64 apic_periodic_32 apic_periodic_64 apic_poll_32 apic_poll_64 self_ipi_32 self_ipi_64
    io_apic_edge_32 io_apic_edge_64 io_apic_level_32 io_apic_level_64 task_priority_32 task_priority_64 cr8_apic_64
    nmi_self_64 nmi_hlt_64 x2apic_32 x2apic_64 virtual_wire_32 virtual_wire_64
    deaf_32 deaf_64
}

fn host_clock(guest: &Guest) {
    let Some(host) = host() else { return };
    let recorded = checked_recording(&host, guest, ClockMode::Host);
    replay_and_compare(&host, guest, &recorded);
}

fn virtual_clock(guest: &Guest) {
    if Extent::of_environment() == Extent::Quick {
        return;
    }
    let Some(host) = host() else { return };
    let recorded = checked_recording(&host, guest, ClockMode::Virtual);
    replay_and_compare(&host, guest, &recorded);
    let again = checked_recording(&host, guest, ClockMode::Virtual);
    assert_eq!(Plain::read(&recorded.path).stream(), Plain::read(&again.path).stream());
}

fn positions(guest: &Guest) {
    if Extent::of_environment() == Extent::Quick {
        return;
    }
    let Some(host) = host() else { return };
    let recorded = checked(record_preempted(&host, guest, RAM), guest);
    replay_and_compare(&host, guest, &recorded);
}

fn checked_recording(host: &Host, guest: &Guest, clock: ClockMode) -> Recorded {
    checked(record(host, guest, clock), guest)
}

fn checked(recorded: Recorded, guest: &Guest) -> Recorded {
    assert_eq!(recorded.end.reason, reason(guest.ends));
    assert_eq!(recorded.end.unclosed, []);
    if let Some(text) = guest.prints {
        assert_eq!(recorded.com1().escape_ascii().to_string(), text.escape_ascii().to_string());
    }
    recorded
}

fn replay_and_compare(host: &Host, guest: &Guest, recorded: &Recorded) {
    for _ in 0..Extent::of_environment().replays() {
        let replayed = replay(host, &recorded.path);
        assert_eq!(replayed.exits, recorded.end.exits);
        assert_eq!(replayed.console, recorded.console);
        // A guest that computes for ever is cut anywhere behind its last exit.
        if guest.ends != Ends::Never {
            assert_same_machine(host, &recorded.machine, &replayed.machine);
        }
    }
}
