//! Instructions as text, the same wherever Trapline shows one.

use crate::exit::{CpuMode, Instruction};
use iced_x86::{Decoder, DecoderOptions, Formatter, FormatterOutput, FormatterTextKind, NasmFormatter};

/// The first instruction in `bytes`: its length and its text in NASM syntax. `None` where there is no whole instruction.
pub fn disassemble(bytes: &[u8], mode: CpuMode, address: u64) -> Option<(usize, String)> {
    let mut decoder = Decoder::with_ip(mode.bits(), bytes, address, DecoderOptions::NONE);
    if !decoder.can_decode() {
        return None;
    }
    let instruction = decoder.decode();
    if instruction.is_invalid() {
        return None;
    }
    let mut formatter = NasmFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    let mut text = Plain(String::new());
    formatter.format(&instruction, &mut text);
    Some((instruction.len(), text.0))
}

struct Plain(String);

impl FormatterOutput for Plain {
    fn write(&mut self, text: &str, _: FormatterTextKind) {
        self.0.push_str(text);
    }
}

impl Instruction {
    /// Its text; `(unknown instruction)` where its bytes could not be read or decoded.
    pub fn text(&self) -> String {
        disassemble(&self.bytes, self.mode, self.address.0)
            .map_or_else(|| "(unknown instruction)".to_owned(), |(_, text)| text)
    }
}
