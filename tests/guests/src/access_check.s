    # CLAC and STAC, where the processor has them; then the flag, without them too.
    mov eax, 7
    xor ecx, ecx
    cpuid
    bt ebx, 20
    jnc 9f
    stac
    flags
    bt eax, 18
    jnc 8f
    clac
    flags
    bt eax, 18
    jc 8f
9:  say "ok\n"
8:  bye 0
