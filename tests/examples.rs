//! The examples do what their first lines say.

#[path = "../examples/own_device.rs"]
mod own_device;

#[test]
fn own_device_records_and_replays_a_device_of_ones_own() {
    if std::env::var("TRAPLINE_SKIP_KVM").is_ok_and(|v| v == "1") {
        return;
    }
    own_device::main().expect("the example is faithful");
}
