    # Waits for the timer of the local APIC without HLT: the interrupt comes at an exit of the loop, or where a window opens.
    handle 0x42, 8f
    enable_apic
    xor ebx, ebx
    apic 0x3e0, 0xb
    apic 0x320, 0x20042
    apic 0x380, 2000000
1:  cli
    mov ecx, 5
2:  peek 0x390
    dec ecx
    jnz 2b
    sti
    nop
    nop
    in al, 0x61
    cmp ebx, 5
    jb 1b
    cli
    say "ok\n"
    bye 0
8:  inc ebx
    keep_edi
    apic 0xb0, 0
    back_edi
    return
