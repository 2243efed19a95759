    # XGETBV, XSETBV, XSAVE, XRSTOR and kin, where the processor has them and XCR0 has an effect.
    .macro check register, value
    cmp \register, \value
    jne 8f
    .endm
    handle 6, 8f
    handle 13, 8f
    mov eax, 1
    xor ecx, ecx
    cpuid
    bt ecx, 26
    jnc 9f
    get_cr 4
    or eax, 0x40600         # OSXSAVE, OSFXSR, OSXMMEXCPT
    set_cr 4
    xor ecx, ecx
    xgetbv
    check eax, 1            # x87
    xor edx, edx
    mov eax, 3
    xsetbv
    xgetbv
    check eax, 3
    mov edi, 0x10000
    mov dword ptr [edi + 0x2000], 0x11223344
    movd xmm3, dword ptr [edi + 0x2000]
    fninit
    fld1
    mov eax, -1
    mov edx, -1
    xsave [edi]
    mov eax, [edi + 512]    # XSTATE_BV
    cmp eax, 1
    je 9f                   # some emulated processors forget XCR0
    check eax, 3
    mov eax, [edi + 160 + 48]
    check eax, 0x11223344
    mov eax, [edi + 38]     # exponent of ST0
    check eax, 0x3fff8000
    # Restores x87 as it was, SSE to its start.
    mov dword ptr [edi + 512], 1
    fldz
    mov eax, 3
    xor edx, edx
    xrstor [edi]
    movd eax, xmm3
    check eax, 0
    fnstsw ax
    movzx eax, ax
    check eax, 0x3800
    # Only SSE.
    mov dword ptr [edi + 512], 3
    fninit
    mov eax, 2
    xor edx, edx
    xrstor [edi]
    movd eax, xmm3
    check eax, 0x11223344
    fnstsw ax
    movzx eax, ax
    check eax, 0
    fxsave [edi + 0x1000]
    mov eax, [edi + 0x1000 + 160 + 48]
    check eax, 0x11223344
    pxor xmm3, xmm3
    fxrstor [edi + 0x1000]
    movd eax, xmm3
    check eax, 0x11223344
    mov eax, 0xd
    mov ecx, 1
    cpuid
    mov esi, eax
    bt esi, 0               # XSAVEOPT
    jnc 1f
    mov eax, 3
    xor edx, edx
    xsaveopt [edi]
1:  bt esi, 1               # XSAVEC
    jnc 2f
    mov eax, 2
    xor edx, edx
    xsavec [edi + 0x1000]
    mov eax, [edi + 0x1000 + 524]   # XCOMP_BV, upper half
    check eax, 0x80000000
    pxor xmm3, xmm3
    mov eax, 2
    xrstor [edi + 0x1000]
    movd eax, xmm3
    check eax, 0x11223344
2:  bt esi, 3               # XSAVES
    jnc 3f
    pxor xmm3, xmm3
    mov eax, 2
    xor edx, edx
    xrstors [edi + 0x1000]
    movd eax, xmm3
    check eax, 0x11223344
    mov eax, 3
    xsaves [edi]
3:  handle 13, 9f
    mov eax, 2
    xsetbv                  # without x87: #GP
    jmp 8f
9:  say "ok\n"
    bye 0
8:  say "wrong\n"
    bye 1
    .purgem check
