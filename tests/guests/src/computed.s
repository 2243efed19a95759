    # Reaches a clock read and a random number by calls to addresses that it computes, where no disassembly follows. Data that
    # looks like a clock read has to be as it was. Four more bytes are nobody's.
    at data, 5f
    movzx eax, word ptr [data]
    not eax
    cmp ax, 0xcef0          # not RDTSC's bytes: those would stand here, too
    jne 8f
    .macro call_computed label
    .set away, \label - 71f
    call 71f
    .if BITS == 64
71: pop rax
    add rax, offset away
    call rax
    .else
71: pop eax
    add eax, offset away
    call eax
    .endif
    .endm
    call_computed 6f
    call_computed 7f
    .purgem call_computed
    jnc 8f                  # RDRAND had none
    say "ok\n"
    bye 0
8:  bye 9
5:  .byte 0x0f, 0x31, 0xff, 0xff    # no code: what follows does not decode
    .byte 0x0f, 0x31, 0xff, 0xff
6:  rdtsc
    out 0x80, al
    ret
7:  .byte 0x48, 0x0f, 0xc7, 0xf3    # RDRAND RBX; in 32-bit mode DEC EAX, RDRAND EBX
    setc al
    and ebx, 15
    out 0x80, al
    cmp al, 1
    cmc
    ret
