    # Reads the clock in code that it writes first, where no disassembly finds it, and shows a few bits of it, at no exit the
    # whole.
    hide_clock
    mov edi, 8
1:  call 99b + 0x1000
    xor edx, edx
    shr eax, 4
    and eax, 15
    out 0x80, al
    dec edi
    jnz 1b
    bye 0
