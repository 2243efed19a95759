    # RDTSCP, whatever CPUID says of it: the clock never runs backwards, and ECX is TSC_AUX, where there is that MSR.
    handle 13, 8f
    xor edx, edx
    mov eax, 0x5a
    mov ecx, 0xc0000103
    wrmsr
    xor ebx, ebx
    xor ebp, ebp
    mov edi, 20
1:  rdtscp
    cmp ecx, 0x5a
    jne 9f
    mov esi, eax
    sub esi, ebx
    mov esi, edx
    sbb esi, ebp
    jc 9f
    mov ebx, eax
    mov ebp, edx
    dec edi
    jnz 1b
8:  say "ok\n"
    bye 0
9:  say "wrong\n"
    bye 1
