    # Waits for the clock, in code that it writes first, where no disassembly finds it, and makes exits meanwhile.
    mov byte ptr [0x9000], 0x0f
    mov word ptr [0x9001], 0xc331
    call 99b + 0x1000
    shl rdx, 32
    or rax, rdx
    mov rbx, rax
1:  call 99b + 0x1000
    shl rdx, 32
    or rax, rdx
    out 0x80, al
    mov [0xa000], rax
    sub rax, rbx
    cmp rax, 1 << 21
    jb 1b
    bye 0
