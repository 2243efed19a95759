    # Waits for the clock, in code that it writes first, where no disassembly finds it, and makes exits meanwhile.
    hide_clock
    hidden_clock
    mov rbx, rax
1:  hidden_clock
    out 0x80, al
    mov [0xa000], rax
    sub rax, rbx
    cmp rax, 1 << 21
    jb 1b
    bye 0
