#!/usr/bin/env python3
"""Reads a Trapline trace with the standard library and zstandard, written from formats/SPEC.md alone.

usage: trapread.py run.trap            everything in it, as one JSON object (SPEC.md, appendix B)
       trapread.py run.trap --exits    a line for each exit, as `trapline inspect run.trap --exits 0.. --json`
"""
import functools, json, struct, sys, zstandard

# SPEC.md 4: postcard. Types: U8, U (unsigned), I (signed), S (text), F (bool); [T], (T, ...), {field: T}, Opt, Enum.
U8, U, I, S, F = "u8", "u", "i", "s", "f"
Opt, Enum = (type(name, (), {"__init__": lambda self, of: setattr(self, "of", of)}) for name in ("Opt", "Enum"))
def names(words): return Enum(dict.fromkeys(words.split()))

# SPEC.md 5: what the blocks hold.
SPACE, MODE = names("Port Mmio Msr"), names("Real16 Protected16 Protected32 Long64")
KINDS = names("PortRead PortWrite MmioRead MmioWrite MsrRead MsrWrite Halt InterruptWindow SetTpr ClockRead Shutdown Unfinished RandomRead")
REWRITE = dict(gpa=U, original=[U8], replacement=[U8], found_by=S)
HOST = dict(engine=S, kernel=S, cpu_vendor=S, cpu_brand=S, cpu_signature=U, microcode=U, capabilities=[(S, I)])
HEADER = dict(
    recorder=S, host=HOST, clock=names("Host Virtual"), preempt=names("Exits Positions"), entry=S, files=[dict(role=S, name=S, bytes=U, xxh3=U)],
    memory=[dict(gpa=U, bytes=U, readonly=F)], cpuid=[dict(leaf=U, subleaf=U, flags=U, registers=(U,) * 4)],
    msrs_allowed=[dict(start=U, end=U)], tick_hz=U, tick_source=S, stand_ins=dict(clock=Opt(U8), long=Opt(U8)),
    rewrites=[REWRITE], suspects=[dict(gpa=U, bytes=[U8])], console_channels=[S],
    names=[dict(space=SPACE, start=U, end=U, device=S, register=S)])
SEGMENT = dict(base=U, limit=U, selector=U, rights=U)
STATE = dict(
    registers=dict(general=(U,) * 16, rip=U, rflags=U),
    system=dict(segments=(SEGMENT,) * 8, gdt=(U, U), idt=(U, U), control=(U,) * 5, efer=U, apic_base=U, pdptrs=Opt((U,) * 4)),
    msrs=[(U, U)], xsave=(U, [(U, [U8])]), xcr0=U,
    events=dict(exception=(F, F, U8, Opt(U), Opt(U)), interrupt=(F, U8, F), shadow=U8, nmi=(F,) * 3, smm=(F,) * 4,
                sipi_vector=U, triple_fault=F),
    debug=dict(addresses=(U,) * 4, dr6=U, dr7=U), mp_state=U)
SITE = dict(kind=KINDS, address=U, size=U8, rep=F, instruction=dict(address=U, bytes=[U8], mode=MODE, cpl=U8))
CHECKPOINT = dict(exit=U, cpu=STATE, memory=Enum({"None": None, "All": [(U, U)], "Changed": [(U, U)]}))
KEYFRAME = dict(number=U, exit=U, carried=F, window_requested=F, cpu=STATE, changes=U)
SPREAD = dict(count=U, median_ns=U, p99_ns=U, max_ns=U)
END = dict(
    reason=Enum(dict.fromkeys("Halted Idle TripleFault Reset PowerOff ExitDevice ConsoleMatch MaxExits Timeout Interrupted Failed".split())
                | dict(ExitDevice=U8, ConsoleMatch=S, Failed=S)),
    exits=U, unclaimed=[dict(space=SPACE, address=U, reads=U, writes=U)],
    unclosed=[dict(source=S, exit=U, evidence=S)], rewrites=[dict(exit=U, rewrite=REWRITE)],
    preemption=dict(lateness=SPREAD, positions=SPREAD, pages=U, deferred=U))
EVENTS = {0: ("interrupt", dict(vector=U8)), 1: ("nmi", {}), 2: ("window-requested", {}), 3: ("window-cancelled", {}),
          4: ("checkpoint", {}), 5: ("task-priority", dict(cr8=U8)), 6: ("memory-write", dict(gpa=U, bytes="hex")), 7: ("jump", dict(rip=U)),
          8: ("file-read", dict(gpa=U, file=U, offset=U, length=U, xxh3="u64")), 9: ("keyframe", dict(carried=F, number=U))}

class Bytes:
    def __init__(self, raw): self.raw, self.at = raw, 0
    def more(self): return self.at < len(self.raw)
    def take(self, length):
        assert length <= len(self.raw) - self.at, "a length runs past the end of its block"
        self.at += length
        return self.raw[self.at - length:self.at]
    def varint(self):
        value = shift = 0
        while (byte := self.take(1)[0]) >= 0x80:
            value, shift = value | (byte & 0x7F) << shift, shift + 7
        return value | byte << shift
    def signed(self):
        coded = self.varint()
        return coded >> 1 ^ -(coded & 1)
    def delta(self, base): return base + self.signed() & (1 << 64) - 1
    def value(self, kind):
        match kind:
            case "u8": return self.take(1)[0]
            case "f": return self.take(1) != b"\0"
            case "u": return self.varint()
            case "i": return self.signed()
            case "s": return self.take(self.varint()).decode()
            case "hex": return self.take(self.varint()).hex()
            case "u64": return f"{struct.unpack('<Q', self.take(8))[0]:016x}"
            case [item]: return [self.value(item) for _ in range(self.varint())]
            case tuple(): return [self.value(item) for item in kind]
            case dict(): return {name: self.value(item) for name, item in kind.items()}
            case Opt(): return self.value(kind.of) if self.take(1) != b"\0" else None
            case Enum():
                name, inner = list(kind.of.items())[self.varint()]
                return name if inner is None else {name: self.value(inner)}

TABLE = list(range(256))
for _ in range(8):
    TABLE = [crc >> 1 ^ 0x82F63B78 * (crc & 1) for crc in TABLE]
def crc32c(data): return functools.reduce(lambda crc, byte: crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF], data, 0xFFFFFFFF) ^ 0xFFFFFFFF

def blocks(file):
    """SPEC.md 2 and 3: (type, flags, first exit, payload) of each block."""
    magic, version, _, crc = struct.unpack("<8sHHI", file[:16])
    assert magic == b"\x89TRAP\r\n\x1a" and version == 1 and crc == crc32c(file[:12]), "no trace of version 1"
    at = 16
    while at < len(file):
        head = file[at:at + 32]
        magic, kind, flags, stored, raw, first, payload_crc, crc = struct.unpack("<4sHHIIQII", head.ljust(32))
        payload = file[at + 32:at + 32 + stored]
        if len(head) < 32 or len(payload) < stored:
            return print(f"the file ends inside the block at byte {at:#x}", file=sys.stderr)
        assert magic == b"TRPB" and crc == crc32c(head[:28]) and flags < 4, f"no block of version 1 at byte {at:#x}"
        assert payload_crc == crc32c(payload), f"the block at byte {at:#x} is damaged"
        assert kind in range(1, 16) or not flags & 2, f"the block at byte {at:#x} is needed and of unknown type {kind}"
        if flags & 1:
            payload = zstandard.ZstdDecompressor().decompress(payload, max_output_size=raw)
        yield kind, flags, first, Bytes(payload)
        at += 32 + stored

def inputs(data, sites, exits, events):  # SPEC.md 6.1
    values, successor, last = {}, {}, None
    while data.more():
        token = data.varint()
        if token == 0:
            name, fields = EVENTS[data.take(1)[0]]
            events.append((len(exits) - 1, {"event": name} | data.value(fields)))
            continue
        number = successor[last] if token == 1 else token - 2
        successor[last] = last = number
        site, kind, bytes_, fault = sites[number], sites[number]["kind"], b"", False
        if kind not in ("Halt", "InterruptWindow", "Shutdown", "Unfinished"):
            if site["rep"]:
                bytes_ = data.take(data.varint() * site["size"])
            else:
                values[number] = data.delta(values.get(number, 0))
                bytes_ = struct.pack("<Q", values[number])[:site["size"]]
            fault = kind in ("MsrRead", "MsrWrite") and data.take(1) != b"\0"
        exits.append((number, bytes_.hex(), fault))

def digests(data, sites_of_exits, registers):  # SPEC.md 6.3
    slots, before = {}, [0] * 17
    for _ in range(data.varint()):
        site = next(sites_of_exits)
        known = slots.get(site % 1024)
        before = list(known[1]) if known and known[0] == site else list(before)
        mask = data.varint()
        for register in range(17):
            if mask >> register & 1:
                before[register] = data.delta(before[register])
        slots[site % 1024] = (site, before)
        registers.append(before)
    checkpoints = data.value([CHECKPOINT])
    lists = [pages for checkpoint in checkpoints if checkpoint["memory"] != "None" for pages in checkpoint["memory"].values()]
    assert all(a[0] < b[0] for pages in lists for a, b in zip(pages, pages[1:])), "pages do not ascend"
    return checkpoints

def read(file):
    t = dict(blocks=[], start_pages=[], sites=[], exits=[], events=[], timing=[], registers=[], checkpoints=[], console=[],
             contents=[], changes=[], keyframes=[], end=None, index=None)
    pending = []
    for kind, flags, first, data in blocks(file):
        t["blocks"].append((kind, flags, len(data.raw), first))
        match kind:
            case 1: t["header"] = data.value(HEADER)
            case 2: t["start_state"] = data.value(STATE)
            case 3:
                page = 0
                while data.more():
                    page += data.varint()
                    t["start_pages"].append((page, crc32c(data.take(4096))))
            case 4: t["sites"] += data.value([SITE])
            case 5:
                start = len(t["exits"])
                inputs(data, t["sites"], t["exits"], t["events"])
                sites_of_exits = (exit[0] for exit in t["exits"][start:])
                t["checkpoints"] += digests(pending.pop(), sites_of_exits, t["registers"])
            case 6: t["timing"] += [((g & 2047) << (g >> 11), (v & 2047) << (v >> 11)) for g, v in struct.iter_unpack("<HH", data.raw)]
            case 7: pending.append(data)
            case 8:
                while data.more():
                    first += data.varint()
                    t["console"].append((first, data.take(1)[0], data.value("hex")))
            case 9: t["end"] = data.value(END)
            case 10: t["contents"] += [crc32c(data.take(4096)) for _ in range(len(data.raw) // 4096)]
            case 11:
                number, page, content = data.varint(), 0, 0
                while data.more():
                    page, hash_, content = page + data.varint(), data.value("u64"), data.delta(content)
                    t["changes"].append((number, page, hash_, content))
            case 12: t["keyframes"].append(data.value(KEYFRAME))
            case 13: t["index"] = data.varint()
            case 15:
                t.setdefault("tsc", []).append((first, None, value := data.varint()))
                while data.more():
                    first, behind, value = first + data.varint(), data.varint(), data.delta(value)
                    t["tsc"].append((first, behind, value))
    return t

def exit_lines(t):
    events = iter(t["events"] + [(len(t["exits"]), None)])
    after, event = next(events)
    for number, (site_number, data, fault) in enumerate(t["exits"]):
        site, listed = t["sites"][site_number], []
        while after <= number:
            listed.append(event)
            after, event = next(events)
        kind = "".join("-" * (c.isupper() and i > 0) + c.lower() for i, c in enumerate(site["kind"]))
        mode, at = site["instruction"]["mode"].lower().replace("protected", "prot"), site["instruction"]
        yield {"exit": number, "site": site_number, "kind": kind,
               "address": site["address"] if kind.split("-")[0] in ("port", "mmio", "msr") else None, "size": site["size"],
               "data": data, "fault": fault, "instruction_address": at["address"], "mode": mode, "cpl": at["cpl"],
               "events": listed}

if __name__ == "__main__":
    trace = read(open(sys.argv[1], "rb").read())
    print(*map(json.dumps, exit_lines(trace) if sys.argv[2:] == ["--exits"] else [trace]), sep="\n")
