    # Interrupts itself: by shorthand, and by its own id. The request shows in IRR while interrupts are off, and in ISR while it
    # is served.
    handle 0x55, 8f
    enable_apic
    xor ebx, ebx
    apic 0x300, 0x44055     # to itself
    peek 0x220              # IRR, vectors 0x40 to 0x5f
    cmp eax, 0x200000
    jne 9f
    sti
    nop
    out 0x80, al
    cli
    cmp ebx, 1
    jne 9f
    apic 0x310, 0           # to id 0
    apic 0x300, 0x4055
    sti
    nop
    out 0x80, al
    cli
    cmp ebx, 2
    jne 9f
    apic 0x300, 0xc4055     # to all but itself: to nobody
    apic 0x310, 0x1000000   # to id 1: to nobody
    apic 0x300, 0x4055
    sti
    nop
    out 0x80, al
    cli
    cmp ebx, 2
    jne 9f
    say "ok\n"
9:  bye 0
8:  keep
    keep_edi
    peek 0x120              # ISR
    cmp eax, 0x200000
    jne 7f
    inc ebx
7:  apic 0xb0, 0
    back_edi
    back
    return
