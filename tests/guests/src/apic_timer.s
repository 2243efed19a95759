    # The timer of the local APIC in one-shot mode wakes the guest out of HLT five times; in between its count goes down, and
    # after it has expired, it stands at zero.
    handle 0x40, 8f
    enable_apic
    xor ebx, ebx
    apic 0x3e0, 0xb         # divide by 1
    apic 0x320, 0x40
1:  apic 0x380, 1000000
    peek 0x390
    mov ecx, eax
    peek 0x390
    cmp eax, ecx
    jb 2f
    test ecx, ecx           # on a slow host it may have expired already
    jnz 9f
2:
    sti
    hlt
    cli
    peek 0x390
    test eax, eax
    jnz 9f
    cmp ebx, 5
    jb 1b
    say "ok\n"
9:  bye 0
8:  inc ebx
    keep_edi
    apic 0xb0, 0
    back_edi
    return
