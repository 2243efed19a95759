    # The task priority register holds an interrupt back until it is lowered.
    handle 0x55, 8f
    enable_apic
    xor ebx, ebx
    apic 0x80, 0x50
    apic 0x300, 0x44055
    sti
    nop
    out 0x80, al
    out 0x80, al
    cmp ebx, 0
    jne 9f
    peek 0xa0               # processor priority
    cmp eax, 0x50
    jne 9f
    apic 0x80, 0x4f         # a class lower: it comes
    out 0x80, al
    cli
    cmp ebx, 1
    jne 9f
    say "ok\n"
9:  bye 0
8:  keep_edi
    inc ebx
    apic 0xb0, 0
    back_edi
    return
