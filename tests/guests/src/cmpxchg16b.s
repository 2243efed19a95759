    # CMPXCHG16B: equal, different, and misaligned.
    handle 13, 8f
    mov edi, 0x7000
    mov qword ptr [rdi], 0x1111
    mov qword ptr [rdi + 8], 0x2222
    mov eax, 0x1111
    mov edx, 0x2222
    mov ebx, 0x3333
    mov ecx, 0x4444
    lock cmpxchg16b [rdi]
    flags
    and eax, 0x40
    show
    mov eax, [rdi]
    show
    mov eax, [rdi + 8]
    show
    mov eax, 0x1111
    mov edx, 0x2222
    cmpxchg16b [rdi]
    show
    mov eax, edx
    show
    flags
    and eax, 0x40
    show
    cmpxchg16b [rdi + 8]    # #GP(0)
    say "no fault\n"
    bye 0
8:  say "ok\n"
    bye 0
