    # The timer of the local APIC in periodic mode: it is loaded once and interrupts until it is masked. After that nothing wakes
    # the guest but the PIT.
    handle 0x41, 8f
    handle 0x20, 7f
    enable_apic
    xor ebx, ebx
    xor ebp, ebp
    apic 0x3e0, 3           # divide by 16
    apic 0x320, 0x20041
    apic 0x380, 100000
1:  sti
    hlt
    cli
    cmp ebx, 7
    jb 1b
    apic 0x320, 0x30041     # masked; it counts on
    sti                     # one that came before
    nop
    out 0x80, al
    cli
    mov ecx, ebx
    open 0xfe
    apic 0x350, 0x700       # the 8259A reaches the processor again
    timer 11932
2:  sti
    hlt
    cli
    cmp ebp, 3
    jb 2b
    cmp ebx, ecx
    jne 9f
    say "ok\n"
9:  bye 0
8:  inc ebx
    keep_edi
    apic 0xb0, 0
    back_edi
    return
7:  inc ebp
    keep
    eoi
    back
    return
