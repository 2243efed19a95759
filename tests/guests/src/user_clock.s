    # Reads the clock in user mode, in code that it writes first, where no disassembly finds it, and keeps the value in memory alone.
    mov byte ptr [0x9000], 0x0f
    mov word ptr [0x9001], 0xc331
    user 1f
1:  call 99b + 0x1000
    shl rdx, 32
    or rax, rdx
    mov [0xa000], rax
    xor eax, eax
    xor edx, edx
2:  mov [0x30000000], eax
    jmp 2b
