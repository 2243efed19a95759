    # EXTRQ, which AMD has and Intel has not: used where the processor offers it.
    mov eax, 0x80000001
    cpuid
    bt ecx, 6
    jnc 9f
    get_cr 4
    or eax, 0x600           # OSFXSR, OSXMMEXCPT
    set_cr 4
    mov eax, 0x12345678
    movd xmm0, eax
    extrq xmm0, 8, 16       # 8 bits from bit 16
    movd eax, xmm0
    cmp eax, 0x34
    jne 8f
9:  say "ok\n"
    bye 0
8:  say "wrong\n"
    bye 1
