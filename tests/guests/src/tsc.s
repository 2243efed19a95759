    # RDTSC in a loop: the clock never runs backwards, also where something else reads it in between.
    xor edi, edi
    xor ebp, ebp
    mov ecx, 50
1:  rdtsc
    mov ebx, eax
    mov esi, edx
    sub ebx, edi
    sbb esi, ebp
    jc 9f
    mov edi, eax
    mov ebp, edx
    test cl, 7
    jnz 2f
    out 0x80, al
    rdtsc
2:  dec ecx
    jnz 1b
    say "ok\n"
9:  bye 0
