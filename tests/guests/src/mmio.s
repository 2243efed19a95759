    # Reads, writes and modifies memory that nobody owns, at every width and across pages: reads give all ones.
    .set NOBODY, 0x30000000
    mov edi, NOBODY
    mov al, [edi]
    mov bx, [edi + 2]
    mov ecx, [edi + 4]
    cmp al, 0xff
    jne 9f
    cmp bx, 0xffff
    jne 9f
    cmp ecx, -1
    jne 9f
    mov byte ptr [edi], 1
    mov word ptr [edi + 2], 0x1234
    mov dword ptr [edi + 4], 0x12345678
    mov [edi + 8], eax
    or dword ptr [edi + 12], 1
    add word ptr [edi + 16], 1
    dec byte ptr [edi + 18]
    xchg [edi + 20], ecx
    lock and dword ptr [edi + 24], 0x7f
    movzx ecx, byte ptr [edi + 28]
    movsx ecx, word ptr [edi + 28]
    cmp ecx, -1
    jne 9f
    test dword ptr [edi + 32], 8
    jz 9f
    mov eax, [edi + 0xffe]  # over a page boundary, both sides nobody's
    mov [edi + 0xffe], eax
    mov edi, 0x3ffffe       # the last two bytes of 4 MiB of RAM, and two behind it
    mov dword ptr [edi], 0x11223344
    mov eax, [edi]
    cmp ax, 0x3344
    jne 9f
    .if BITS == 64
    mov rax, [NOBODY + 40]
    mov [NOBODY + 48], rax
    push qword ptr [NOBODY]
    pop qword ptr [NOBODY + 8]
    .endif
    say "ok\n"
9:  bye 0
