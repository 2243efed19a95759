//! Names as their language writes them.

use super::safe;

/// A name of a stranger is not demangled beyond this length, nor shown longer than this.
const LONGEST: usize = 512;

/// The name in C++ or Rust where it is a mangled one, without hash and parameters; itself otherwise. Printable.
pub(super) fn demangle(name: &[u8]) -> String {
    let plain = safe(name);
    let readable = match std::str::from_utf8(name) {
        Ok(text) if text.len() <= LONGEST => rust(text).or_else(|| cpp(text)).map(|t| safe(t.as_bytes())),
        _ => None,
    };
    let shown = readable.unwrap_or(plain);
    match shown.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

fn rust(name: &str) -> Option<String> {
    rustc_demangle::try_demangle(name).ok().map(|d| format!("{d:#}"))
}

fn cpp(name: &str) -> Option<String> {
    if !name.starts_with("_Z") {
        return None;
    }
    let options = cpp_demangle::DemangleOptions::new().no_params().no_return_type();
    cpp_demangle::Symbol::new(name).ok()?.demangle_with_options(&options).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_their_language_writes_them() {
        assert_eq!(demangle(b"_ZN3foo3barEv"), "foo::bar");
        assert_eq!(
            demangle(b"_ZN4core3fmt5Write9write_str17h0123456789abcdefE"),
            "core::fmt::Write::write_str"
        );
        assert_eq!(demangle(b"serial8250_console_putchar"), "serial8250_console_putchar");
        assert_eq!(demangle(b"_ZTV"), "_ZTV", "what is no name stays as it is");
    }

    #[test]
    fn hostile_names_are_printable_and_bounded() {
        assert_eq!(demangle(b"a\x1b[31m\xff"), "a\\u{1b}[31m\\xff");
        assert!(demangle(&vec![b'S'; 100_000]).chars().count() <= LONGEST + 1);
        let nested = format!("_Z{}i", "P".repeat(400));
        assert!(demangle(nested.as_bytes()).chars().count() <= LONGEST + 1);
    }
}
