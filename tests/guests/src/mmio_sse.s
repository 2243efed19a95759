    # Moves between SSE, MMX and x87 registers and memory that nobody owns, of every width, aligned and across two pages.
    get_cr 4
    or eax, 0x600
    set_cr 4
    mov edi, 0x30000000
    mov esi, 0x7000
    .macro out_xmm register
    movups [esi], \register
    .irp n, 0, 4, 8, 12
    mov eax, [esi + \n]
    show
    .endr
    .endm
    movq xmm0, qword ptr [edi]
    out_xmm xmm0
    movd xmm1, dword ptr [edi + 4]
    out_xmm xmm1
    movdqa xmm2, [edi + 16]
    out_xmm xmm2
    movaps xmm3, [edi + 32]
    out_xmm xmm3
    movdqu xmm4, [edi + 0xff9]
    out_xmm xmm4
    movupd xmm5, [edi + 1]
    out_xmm xmm5
    pxor xmm6, xmm6
    movhps xmm6, [edi + 8]
    out_xmm xmm6
    pxor xmm6, xmm6
    movss xmm6, [edi + 8]
    out_xmm xmm6
    movq mm0, [edi + 8]
    movq [esi], mm0
    mov eax, [esi + 4]
    show
    emms
    movq qword ptr [edi], xmm1
    movd dword ptr [edi + 4], xmm1
    movdqa [edi + 16], xmm6
    movaps [edi + 32], xmm6
    movups [edi + 0xff5], xmm6
    movntdq [edi + 64], xmm6
    movntps [edi + 64], xmm6
    movnti [edi + 64], esi
    movhpd [edi + 64], xmm6
    fninit
    fld dword ptr [edi]
    fnstsw ax
    movzx eax, ax
    show
    fst dword ptr [edi + 4]
    fild qword ptr [edi + 8]
    fistp dword ptr [edi + 8]
    fnstcw [edi + 12]
    paddb xmm6, [edi]
    out_xmm xmm6
    say "\n"
    bye 0
    .purgem out_xmm
