    # Moves 16 bytes between an XMM register and memory that nobody owns, within a page and across two.
    .if BITS == 32
    mov eax, cr4
    or eax, 0x600           # OSFXSR, OSXMMEXCPT
    mov cr4, eax
    .endif
    mov edi, 0x30000000
    movups xmm0, [edi]
    mov esi, 0x7000
    movups [esi], xmm0
    cmp dword ptr [esi + 12], -1
    jne 9f
    mov dword ptr [esi + 4], 0x12345678
    movups xmm1, [esi]
    movups [edi + 16], xmm1
    movups [edi + 0xff8], xmm1
    movups xmm2, [edi + 0xff4]
    movups [esi + 16], xmm2
    cmp dword ptr [esi + 16], -1
    jne 9f
    say "ok\n"
9:  bye 0
