    # A register of AVX-512: used where the processor offers it.
    mov eax, 7
    xor ecx, ecx
    cpuid
    bt ebx, 16
    jnc 9f
    get_cr 4
    or eax, 0x40600         # OSXSAVE, OSFXSR, OSXMMEXCPT
    set_cr 4
    xor ecx, ecx
    xor edx, edx
    mov eax, 0xe7           # x87, SSE, AVX, and the three of AVX-512
    xsetbv
    mov eax, 0x12345678
    vpbroadcastd zmm17, eax
    vpaddd zmm17, zmm17, zmm17
    vmovd eax, xmm17
    cmp eax, 0x2468acf0
    jne 8f
9:  say "ok\n"
    bye 0
8:  say "wrong\n"
    bye 1
