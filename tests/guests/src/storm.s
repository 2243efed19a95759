    # A level-triggered line whose cause the handler never takes away, and the fastest of all timers beside it: interrupts for
    # ever.
    handle 0x64, 8f
    handle 0x74, 8f
    enable_apic
    say "storm\n"
    route 0x19, 0
    route 0x18, 0x8064
    mov dx, 0x3fc
    mov al, 0x0b            # OUT2 opens the line
    out dx, al
    mov dx, 0x3f9
    mov al, 2               # transmitter empty: at once, and for ever
    out dx, al
    apic 0x3e0, 0xb
    apic 0x320, 0x20074     # every nanosecond
    apic 0x380, 1
1:  sti
    hlt
    jmp 1b
8:  keep_edi
    apic 0xb0, 0
    back_edi
    return
