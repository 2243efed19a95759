//! Small assembly guests: flat images for 0x8000, one guest, one behaviour.
//!
//! They are assembled into this crate by the compiler's own assembler, so nobody needs another. A guest refers to its own
//! labels as `label - start + 0x8000`.

use core::arch::global_asm;

/// The mode a guest is entered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Real mode.
    Bits16,
    /// Protected mode.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// A guest.
#[derive(Debug, Clone, Copy)]
pub struct Guest {
    /// Its name: the file it is in.
    pub name: &'static str,
    /// The mode it is entered in.
    pub mode: Mode,
    /// Its bytes, to be loaded and entered at 0x8000.
    pub image: &'static [u8],
    /// What it prints on COM1; `None` where that depends on time.
    pub prints: Option<&'static str>,
}

/// Assembles a guest between two labels and makes a function that returns it.
macro_rules! guest {
    ($(#[$doc:meta])* $name:ident, $mode:ident, $code:literal, $prints:expr) => {
        global_asm!(
            concat!(".pushsection .rodata.guest_", stringify!($name), ",\"a\""),
            concat!(".globl trapline_guest_", stringify!($name), "_start"),
            concat!(".globl trapline_guest_", stringify!($name), "_end"),
            $code,
            concat!("trapline_guest_", stringify!($name), "_start:"),
            ".set start, .",
            include_str!(concat!(stringify!($name), ".s")),
            concat!("trapline_guest_", stringify!($name), "_end:"),
            ".code64",
            ".popsection",
        );
        $(#[$doc])*
        pub fn $name() -> Guest {
            unsafe extern "C" {
                #[link_name = concat!("trapline_guest_", stringify!($name), "_start")]
                static START: u8;
                #[link_name = concat!("trapline_guest_", stringify!($name), "_end")]
                static END: u8;
            }
            let (start, end) = (&raw const START, &raw const END);
            // SAFETY: both labels stand in one section of this program, START before END, with initialized bytes that
            // nothing writes between them.
            let image = unsafe { core::slice::from_raw_parts(start, end.offset_from(start) as usize) };
            Guest { name: stringify!($name), mode: Mode::$mode, image, prints: $prints }
        }
    };
}

guest!(
    /// The demonstration: prints, polls, scans PCI, reads clocks, takes timer interrupts, leaves by the exit device.
    demo, Bits64, ".code64", None
);
guest!(
    /// Reads and writes a port a few times and halts.
    port64, Bits64, ".code64", None
);

/// Every guest, for the test matrix.
pub fn all() -> Vec<Guest> {
    vec![demo(), port64()]
}
