    # Writes down what is in two places that a device fills in behind each write to port 0x80: before, and behind it.
    mov ecx, 12
    mov esi, 0xb000
1:  mov al, [esi]
    out 0x80, al
    mov al, [esi]
    out 0x81, al
    mov al, [esi + 16]
    out 0x82, al
    dec ecx
    jnz 1b
    hlt
