    # Loads a segment that does not exist, with an interrupt descriptor table that holds nothing.
    in al, 0x71
    out 0x80, al
    say "bye\n"
    mov ax, 0x1230
    mov ds, ax
    ud2
