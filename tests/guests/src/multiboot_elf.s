    # An ELF file with one segment, which is all of it, and a multiboot header without addresses.
    .ascii "\177ELF"
    .byte 1, 1, 1, 0        # 32 bits, little-endian
    .long 0, 0
    .word 2, 3              # executable, i386
    .long 1
    .long 98f - 99b + BASE  # entry point
    .long 0x34, 0, 0        # program headers; no sections
    .word 0x34, 0x20, 1, 0, 0, 0
    .long 1, 0, BASE, BASE  # PT_LOAD: offset, virtual and physical address,
    .long 97f - 99b         # bytes in the file,
    .long 97f - 99b + 0x4000
    .long 7, 4              # flags, alignment
    .set FLAGS, 3
    .long 0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
