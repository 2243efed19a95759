    # Prints what is typed at COM1, interrupted by each character, until the end of the line.
    handle 0x24, 8f
    xor ebx, ebx
    open 0xef
    mov dx, 0x3fc
    mov al, 0x0b            # DTR, RTS, OUT2: the line to the interrupt controller
    out dx, al
    mov dx, 0x3f9
    mov al, 1               # received data available
    out dx, al
1:  sti
    hlt
    cli
    test ebx, ebx
    jz 1b
    bye 0
8:  keep
    mov dx, 0x3f8
    in al, dx
    out dx, al
    cmp al, 10
    jne 7f
    inc ebx
7:  eoi
    back
    return
