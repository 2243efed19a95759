    # Sets the clock, and reads it in code that it writes first, where no disassembly finds it: 0 if that shows what was set.
    hide_clock
    mov ecx, 0x10
    mov edx, 0x1234
    xor eax, eax
    wrmsr
    call 99b + 0x1000
    cmp edx, 0x1234
    jne 9f
    bye 0
9:  bye 1
