    # x87: constants, arithmetic, its words, its environment, its whole state, WAIT.
    .if BITS == 32
    get_cr 0
    and eax, ~4
    or eax, 0x22            # MP, NE
    set_cr 0
    .endif
    mov edi, 0x7000
    mov word ptr [edi], 0x27f
    fninit
    fldcw [edi]
    fnstcw [edi + 2]
    movzx eax, word ptr [edi + 2]
    show
    fwait
    fld1
    fldpi
    fadd st, st(1)
    fstp dword ptr [edi + 4]
    mov eax, [edi + 4]
    show
    fnstsw ax
    and eax, 0x3fff
    show
    fldz
    fldz
    fdivrp                  # 0 / 0: invalid, masked
    fstp qword ptr [edi + 8]
    mov eax, [edi + 12]
    show
    fnstsw [edi + 16]
    movzx eax, word ptr [edi + 16]
    show
    fnclex
    mov dword ptr [edi], 100000
    fild dword ptr [edi]
    fsqrt
    fistp dword ptr [edi + 4]
    mov eax, [edi + 4]
    show
    fnstenv [edi + 32]
    mov eax, [edi + 32]     # control word
    and eax, 0xffff
    show
    fldenv [edi + 32]
    xor eax, eax            # not every processor that KVM emulates keeps the pointers of x87 for its guest
    mov [edi + 44], eax
    mov [edi + 48], eax
    mov [edi + 52], eax
    mov [edi + 56], eax
    mov [edi + 34], ax      # nor do all fill the reserved halves alike
    mov [edi + 38], ax
    mov [edi + 42], ax
    fld1
    fld1
    fnsave [edi + 64]
    fnstsw ax
    movzx eax, ax
    show
    frstor [edi + 64]
    xor eax, eax
    mov [edi + 76], eax
    mov [edi + 80], eax
    mov [edi + 84], eax
    mov [edi + 88], eax
    mov [edi + 66], ax
    mov [edi + 70], ax
    mov [edi + 74], ax
    fnstsw ax
    movzx eax, ax
    show
    fstp dword ptr [edi + 4]
    mov eax, [edi + 4]
    show
    pxor mm0, mm0
    emms
    say "\n"
    bye 0
