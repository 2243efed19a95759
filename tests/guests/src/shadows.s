    # Interrupt shadows in a loop, and a periodic timer: no interrupt may come right behind STI or MOV SS.
    handle 0x20, 8f
    xor ebx, ebx
    xor ecx, ecx
    xor ebp, ebp
    open 0xfe
    timer 11932
    at behind_sti, 3f
    at behind_ss, 4f
1:  cli
    inc ebx
    sti
3:  inc ebx                 # in the shadow of STI
    mov eax, ss
    mov ss, eax
4:  inc ebx                 # in the shadow of MOV SS
    cmp ebp, 30
    jb 1b
    cli
    test ecx, ecx
    jnz 9f
    say "never in a shadow\n"
    bye 0
9:  say "in a shadow\n"
    bye 1
8:  inc ebp
    keep
    .if BITS == 64
    mov rax, [rsp + 8]
    .elseif BITS == 32
    mov eax, [esp + 4]
    .else
    movzx eax, word ptr [esp + 4]
    .endif
    cmp eax, offset behind_sti
    je 6f
    cmp eax, offset behind_ss
    jne 7f
6:  inc ecx
7:  eoi
    back
    return
