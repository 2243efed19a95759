    # Reads CMOS register 0x0f through its index port, writes what it read to the POST code port, four times.
    mov ecx, 4
1:  mov al, 0x0f
    out 0x70, al
    in al, 0x71
    out 0x80, al
    dec ecx
    jnz 1b
    hlt
