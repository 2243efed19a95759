    # The PIT as a watchdog: through the I/O APIC, as an NMI. It wakes HLT with interrupts off. When its pin is masked, nothing
    # can, and the recording ends.
    handle 2, 8f
    enable_apic
    xor ebx, ebx
    route 0x15, 0
    route 0x14, 0x400
    timer 11932
1:  hlt
    cmp ebx, 5
    jb 1b
    say "ok\n"
    route 0x14, 0x10400
    hlt
    say "woken\n"
    bye 1
8:  inc ebx
    iretq
