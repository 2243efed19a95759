"""Small guests in machine code, entered in real mode at 0x8000."""

ENTRY = 0x8000
END = bytes.fromhex("b000 e6f4")  # mov al, 0; out 0xf4, al: the exit device


def _word(value: int) -> bytes:
    return value.to_bytes(2, "little")


def prints(text: bytes, *, at_once: bool = False) -> bytes:
    """Prints on COM1: a byte an exit, or by one REP OUTSB."""
    each = bytes.fromhex("f36e" if at_once else "ac ee e2fc")  # rep outsb; or lodsb, out dx, al, loop
    code = 9 + len(each) + len(END)
    start = b"\xbe" + _word(ENTRY + code) + b"\xb9" + _word(len(text)) + b"\xba" + _word(0x3F8)
    return start + each + END + text


def ticks(interrupts: int) -> bytes:
    """Takes timer interrupts (vector 8) in HLT, then ends."""
    setup = bytes.fromhex(
        "b011 e620 b008 e621 b004 e621 b001 e621 b0fe e621"  # the PIC: vectors from 8, IRQ 0 alone
        "b034 e643 b0a9 e640 b004 e640"  # the PIT: mode 2, 1193 ticks, a millisecond
    )
    vector = b"\xc7\x06\x20\x00" + _word(ENTRY + 12 + len(setup) + 10 + len(END)) + b"\xc7\x06\x22\x00\0\0"
    loop = b"\xb9" + _word(interrupts) + bytes.fromhex("fb f4 fa e2fb 90 90")  # sti, hlt, cli, loop
    handler = bytes.fromhex("50 b020 e620 58 cf")  # push ax, EOI, pop ax, iret
    return vector + setup + loop + END + handler


#: Writes to port 0x80 for ever.
WRITES = bytes.fromhex("e680 ebfc")

#: Computes for ever, without an exit.
SPINS = bytes.fromhex("ebfe")

#: Reads the TSC where disassembly does not reach, and writes it to port 0x80: a replay diverges there.
READS_HIDDEN_CLOCK = bytes.fromhex("b80580 ffe0 0f31 ba8000 66ef") + END
