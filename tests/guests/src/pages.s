    # Writes to six hundred pages of memory, reads them back, with an exit now and then.
    mov edi, 0x100000
    mov ecx, 600
1:  mov [edi + 8], ecx
    mov [edi + 0xff8], edi
    test cl, 63
    jnz 2f
    out 0x80, al
2:  add edi, 0x1000
    dec ecx
    jnz 1b
    xor eax, eax
    mov ecx, 600
3:  sub edi, 0x1000
    add eax, [edi + 8]
    dec ecx
    jnz 3b
    cmp eax, 180300         # 600 * 601 / 2
    jne 9f
    say "ok\n"
9:  bye 0
