    # INT3, INT n and INTO: nested, out of and into different flags; what they push, and what IRET brings back.
    handle 3, 8f
    handle 4, 6f
    handle 0x40, 7f
    sti
    cmp eax, eax            # AF, too
    stc
    std
    mov ecx, 0x1234
    int3
    flags
    and eax, 0xed5          # OF DF IF SF ZF AF PF CF
    show
    cld
    mov edi, 3
1:  int 0x40
    dec edi
    jnz 1b
    .if BITS != 64
    xor eax, eax
    into
    mov al, 0x7f
    add al, 1               # OF
    into
    .endif
    cli
    mov eax, ebx
    show
    say "\n"
    bye 0

8:  # INT3: flags now, and what was pushed: address and flags.
    inc ebx
    flags
    and eax, 0x7ff
    show
    .if BITS == 16
    mov bp, sp
    movzx eax, word ptr [bp]
    sub eax, 0x8000
    show
    movzx eax, word ptr [bp + 2]
    show
    movzx eax, word ptr [bp + 4]
    .elseif BITS == 32
    mov eax, [esp]
    sub eax, 0x8000
    show
    mov eax, [esp + 4]
    show
    mov eax, [esp + 8]
    .else
    mov eax, [rsp]
    sub eax, 0x8000
    show
    mov eax, [rsp + 8]
    show
    mov eax, [rsp + 16]
    .endif
    show
    jmp 5f
7:  # INT 0x40: another one inside.
    add ebx, 0x10
    int3
    jmp 5f
6:  # INTO
    add ebx, 0x1000
5:
    .if BITS == 16
    iret
    .elseif BITS == 32
    iretd
    .else
    iretq
    .endif
