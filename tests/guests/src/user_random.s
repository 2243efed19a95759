    # Draws a random number in user mode, in code that it writes first, where no disassembly finds it, between two exits.
    mov dword ptr [0x9000], 0xc3f0c70f
    user 1f
1:  mov [0x30000000], ebx
    call 99b + 0x1000
2:  mov [0x30000000], ebx
    jmp 2b
