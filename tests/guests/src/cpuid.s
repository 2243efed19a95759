    # Writes what CPUID says to a port, again and again: it must not depend on the processor that the guest runs on.
    mov ebp, 10
1:  .irp leaf, 0, 1, 2, 4, 7, 0xb, 0xd, 0x1f, 0x40000000, 0x80000000, 0x80000001, 0x80000007, 0x80000008
    mov eax, \leaf
    xor ecx, ecx
    cpuid
    out 0x80, eax
    mov eax, ebx
    out 0x80, eax
    mov eax, ecx
    out 0x80, eax
    mov eax, edx
    out 0x80, eax
    .endr
    dec ebp
    jnz 1b
    say "ok\n"
    bye 0
