    # Reads the clock in code that it writes first, where no disassembly finds it, and has it in registers at an exit.
    hide_clock
    mov edi, 8
1:  call 99b + 0x1000
    out 0x80, al
    dec edi
    jnz 1b
    bye 0
