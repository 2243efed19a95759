    # POPCNT of every width, from registers and memory, and the flags it leaves.
    mov eax, 1
    cpuid
    bt ecx, 23
    jnc 9f
    mov edi, 0x7000
    mov dword ptr [edi], 0xf0f0ff01
    mov dword ptr [edi + 4], 0x80000001
    mov eax, -1
    popcnt ax, [edi]
    show
    popcnt eax, [edi]
    show
    xor ebx, ebx
    popcnt ecx, ebx
    flags
    and eax, 0x8d5
    show
    mov eax, ecx
    show
    mov ebx, 0x01010101
    popcnt eax, ebx
    show
    mov edx, 0x40
    popcnt edx, ebx
    flags
    and eax, 0x8d5
    show
    .if BITS == 64
    mov rax, 0x1ffffffff
    popcnt rax, [rdi]
    show
    mov r15, -1
    popcnt r9, r15
    mov rax, r9
    show
    popcnt rax, rsp
    show
    .else
    popcnt eax, esp
    show
    .endif
    say "\n"
9:  bye 0
