    # Resets the machine through the keyboard controller.
    say "bye\n"
    mov al, 0xfe
    out 0x64, al
    hlt
    ud2
