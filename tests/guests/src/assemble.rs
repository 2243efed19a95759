//! Assembles guests into this crate.

use crate::Mode;

/// The mode of each width, by the word that names it in `guests!`.
pub(crate) const fn mode(bits: u32) -> Mode {
    match bits {
        16 => Mode::Bits16,
        32 => Mode::Bits32,
        _ => Mode::Bits64,
    }
}

/// Makes a function for each guest, and `all`.
macro_rules! guests {
    ($($(#[$doc:meta])* $name:ident: $file:literal, $bits:literal, $ends:expr, $($out:ident)+ $text:tt;)*) => {
        $(guest!($(#[$doc])* $name, $file, $bits, $ends, $($out)+ $text);)*

        /// Every guest, for the test matrix.
        pub fn all() -> Vec<Guest> {
            vec![$($name()),*]
        }
    };
}

/// Assembles a guest between two labels and makes a function that returns it. A guest is one file for 0x8000, or several for
/// another place: `"head.s" "body.s" at 0x100000`.
macro_rules! guest {
    ($(#[$doc:meta])* $name:ident, $($file:literal)+ at $base:literal, $bits:literal, $ends:expr, $prints:expr) => {
        guest!(@ $(#[$doc])* $name, $($file)+, $base, $bits, $ends, "", $prints);
    };
    ($(#[$doc:meta])* $name:ident, $file:literal, $bits:literal, $ends:expr, types $text:literal) => {
        guest!(@ $(#[$doc])* $name, $file, 0x8000, $bits, $ends, $text, Some($text.as_bytes()));
    };
    ($(#[$doc:meta])* $name:ident, $file:literal, $bits:literal, $ends:expr, $($prints:tt)+) => {
        guest!(@ $(#[$doc])* $name, $file, 0x8000, $bits, $ends, "", $($prints)+);
    };
    (@ $(#[$doc:meta])* $name:ident, $($file:literal)+, $base:literal, $bits:literal, $ends:expr, $types:expr, $prints:expr) => {
        core::arch::global_asm!(
            concat!(".pushsection .rodata.guest_", stringify!($name), ",\"a\""),
            concat!(".globl trapline_guest_", stringify!($name), "_start"),
            concat!(".globl trapline_guest_", stringify!($name), "_end"),
            concat!(".code", $bits),
            concat!(".set BITS, ", $bits),
            concat!(".set BASE, ", $base),
            include_str!("words.inc"),
            concat!("trapline_guest_", stringify!($name), "_start:"),
            "99:",
            $(include_str!($file),)+
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
            Guest {
                name: stringify!($name),
                mode: $crate::assemble::mode($bits),
                image,
                ends: $ends,
                types: $types,
                prints: $prints,
            }
        }
    };
}
