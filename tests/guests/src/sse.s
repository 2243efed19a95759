    # SSE and MMX arithmetic and moves, and the flags of MXCSR that it raises.
    get_cr 4
    or eax, 0x600           # OSFXSR, OSXMMEXCPT
    set_cr 4
    mov edi, 0x7000
    mov ecx, 0
1:  mov [edi + ecx], cl
    inc cl
    jnz 1b
    mov dword ptr [edi + 0x80], 0x1f80
    ldmxcsr [edi + 0x80]
    .macro out_xmm register
    movups [edi + 0x100], \register
    mov eax, [edi + 0x100]
    show
    mov eax, [edi + 0x10c]
    show
    .endm
    movdqa xmm0, [edi]
    movups xmm1, [edi + 0x11]
    paddb xmm0, xmm1
    out_xmm xmm0
    pxor xmm2, xmm2
    pshufd xmm3, [edi + 0x20], 0x1b
    out_xmm xmm3
    mov eax, 7
    cvtsi2sd xmm4, eax
    sqrtsd xmm4, xmm4
    out_xmm xmm4
    mulpd xmm4, xmm4
    out_xmm xmm4
    divps xmm1, xmm2        # by zero
    out_xmm xmm1
    stmxcsr [edi + 0x80]
    mov eax, [edi + 0x80]
    show
    mov dword ptr [edi + 0x84], 1   # a denormal
    movss xmm5, [edi + 0x84]
    addss xmm5, xmm5
    out_xmm xmm5
    ucomiss xmm5, xmm2
    flags
    and eax, 0x8d5
    show
    cvttss2si eax, xmm1
    show
    movd eax, xmm0
    show
    pmovmskb eax, xmm0
    show
    movd xmm6, esp
    movd eax, xmm6
    sub eax, esp
    show
    movq mm0, [edi + 8]
    paddw mm0, [edi + 16]
    movd eax, mm0
    show
    emms
    movnti [edi + 0x100], eax
    lfence
    mfence
    sfence
    .if BITS == 64
    mov rax, 0x1234567890abcdef
    movq xmm9, rax
    punpcklqdq xmm9, xmm0
    out_xmm xmm9
    movq r10, xmm9
    mov rax, r10
    show
    .endif
    say "\n"
    bye 0
    .purgem out_xmm
