    # Exceptions of instructions that KVM may not finish: vector, error code or else address, flags; then on.
    .macro trapped vector
    handle \vector, 7f
    jmp 6f
7:  mov eax, \vector
    show
    .if (\vector >= 10) && (\vector <= 14)
    .if BITS == 64
    pop rax
    .else
    pop eax
    .endif
    show
    .else
    .if BITS == 64
    mov rax, [rsp]
    .else
    mov eax, [esp]
    .endif
    sub eax, 0x8000
    show
    .endif
    .if BITS == 64
    mov rax, [rsp + 16]
    .else
    mov eax, [esp + 8]
    .endif
    and eax, 0x300          # IF, TF
    show
    jmp 5f
6:
    .endm
    .macro then number
    at resume\number, 4f
    mov ebx, offset resume\number
    .endm
    .macro back_here
    .if BITS == 64
    mov rsp, rbp
    .else
    mov esp, ebp
    .endif
    .endm

    .if BITS == 64
    mov rbp, rsp
    .else
    mov ebp, esp
    .endif
    get_cr 0
    and eax, ~0x0c
    or eax, 0x22            # MP, NE
    set_cr 0
    get_cr 4
    or eax, 0x600           # OSFXSR, OSXMMEXCPT
    set_cr 4
    trapped 6
    trapped 7
    trapped 13
    jmp 1f
5:  back_here
    .if BITS == 64
    jmp rbx
    .else
    jmp ebx
    .endif

1:  mov dword ptr [0x6000 + 0x31 * BITS / 4 + 4], 0x8e00
    mov word ptr [0x6000 + 0x31 * BITS / 4 + 2], 0x1238
    then 0
    int 0x31                # a segment that does not exist: #GP with its selector
4:  mov word ptr [0x6000 + 0x31 * BITS / 4 + 2], 0x10
    then 2
    int 0x31                # no code segment: #GP with its selector
4:  mov word ptr [0x6000 + 0x31 * BITS / 4 + 2], 0
    then 3
    int 0x31                # no segment at all: #GP(0)
    .if BITS == 32
4:  then 4
    int 0x30                # no gate: #GP with its index
4:  mov word ptr [0x5ff0], 0x1ff
    lidt [0x5ff0]
    then 5
    int 0xf0                # beyond the table: #GP with its index
    .endif
4:  then 6
    mov edi, 0x7001
    movaps xmm0, [edi]      # misaligned: #GP(0)
4:  get_cr 0
    or eax, 8               # TS
    set_cr 0
    then 7
    fwait                   # #NM
4:  then 8
    fld1                    # #NM
4:  then 9
    pxor xmm0, xmm0         # #NM
4:  get_cr 0
    and eax, ~8
    or eax, 4               # EM
    set_cr 0
    then 10
    pxor xmm0, xmm0         # #UD
4:  then 11
    fld1                    # #NM
4:  get_cr 0
    and eax, ~4
    set_cr 0
    then 12
    get_cr 4
    and eax, ~0x40000       # no OSXSAVE
    set_cr 4
    xor ecx, ecx
    xgetbv                  # #UD
4:  say "\n"
    bye 0
    .purgem trapped
    .purgem then
    .purgem back_here
