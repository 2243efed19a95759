    # Prints what is typed at COM1, polling, until the end of the line.
    mov dx, 0x3fd
1:  in al, dx
    test al, 1
    jz 1b
    mov dx, 0x3f8
    in al, dx
    out dx, al
    mov dx, 0x3fd
    cmp al, 10
    jne 1b
    bye 0
