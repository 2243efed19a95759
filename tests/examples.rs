//! The examples run as their first lines say.

use std::process::Command;

#[test]
fn own_device_records_and_replays_a_device_of_ones_own() {
    if std::env::var("TRAPLINE_SKIP_KVM").is_ok_and(|v| v == "1") {
        return;
    }
    // Beside this test's executable is `deps/`, and beside that `examples/`, which cargo builds before it runs tests.
    let test = std::env::current_exe().expect("a running test has an executable");
    let example = test.ancestors().nth(2).expect("it is in target/PROFILE/deps").join("examples/own_device");
    let ran = Command::new(example).output().expect("cargo has built the example");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(said, "recorded 6 exits: the guest halted with interrupts disabled\nreplayed: faithful\n");
}
