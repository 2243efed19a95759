    # Waits for the clock, in code that it writes first, where no disassembly finds it, and makes no exit meanwhile. Interrupts are on, so
    # that it can be kicked everywhere; there are none.
    mov byte ptr [0x9000], 0x0f
    mov word ptr [0x9001], 0xc331
    sti
    call 99b + 0x1000
    shl rdx, 32
    or rax, rdx
    mov rbx, rax
1:  call 99b + 0x1000
    shl rdx, 32
    or rax, rdx
    mov rcx, rax
    sub rax, rbx
    cmp rax, 1 << 21
    jb 1b
    bye 0
