    # Every timer runs, every line is open, and interrupts are never enabled.
    enable_apic
    apic 0x350, 0x700
    open 0
    timer 100
    apic 0x3e0, 0xb
    apic 0x320, 0x20074
    apic 0x380, 1000
    route 0x14, 0x62
    mov ecx, 500
1:  in al, 0x61
    peek 0x390
    dec ecx
    jnz 1b
    say "deaf\n"
    hlt
