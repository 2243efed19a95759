    # Waits for the clock, in code that it writes first, where no disassembly finds it, and makes no exit meanwhile. Interrupts are on, so
    # that it can be kicked everywhere; there are none.
    hide_clock
    sti
    hidden_clock
    mov rbx, rax
1:  hidden_clock
    mov rcx, rax
    sub rax, rbx
    cmp rax, 1 << 21
    jb 1b
    bye 0
