    # REP MOVS of 64 MiB, and a periodic timer: its interrupts come in the midst of the one instruction, which then goes on where it
    # was. Each page of the first MiB is another, and every further MiB is a copy of the one before. An emulator may copy all of it between
    # two interrupts: then it is copied again.
    .set TIMES, 100
    .set FIRST, 0x100000
    handle 0x20, 8f
    mov edi, FIRST
    xor eax, eax
1:  mov [edi], eax
    add edi, 4096
    inc eax
    cmp eax, 256
    jb 1b
    xor ebx, ebx
    open 0xfe
    timer 5966
    cld
    mov ebp, TIMES
5:  mov esi, FIRST
    mov edi, FIRST + 0x100000
    mov ecx, 0x800000
    sti
    nop
2:  rep movsq
    cli
    test ebx, ebx
    jnz 6f
    dec ebp
    jnz 5b
6:
    mov edi, FIRST
    xor eax, eax
3:  movzx edx, al
    cmp [edi], edx
    jne 9f
    add edi, 4096
    inc eax
    cmp eax, 65 * 256
    jb 3b
    test ebx, ebx
    jz 4f
    say "copied, interrupted\n"
    bye 0
4:  say "copied\n"
    bye 0
9:  say "wrong\n"
    bye 1
8:  keep
    at inside, 2b
    mov rax, [rsp + 8]
    cmp eax, offset inside
    jne 7f
    inc ebx
7:  eoi
    back
    return
