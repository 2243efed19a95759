    # Reads and writes ports of every width: CMOS, POST code, PCI configuration, the serial port's scratch register.
    mov ecx, 4
1:  mov al, 0x0f
    out 0x70, al
    in al, 0x71
    out 0x80, al
    dec ecx
    jnz 1b
    mov eax, 0x80000000
    mov dx, 0xcf8
    out dx, eax
    in eax, dx
    mov dx, 0xcfc
    in eax, dx              # vendor and device of the host bridge
    cmp ax, 0x8086
    jne 9f
    in ax, dx
    mov dx, 0xcfe
    in ax, dx
    in al, dx
    mov ax, 0x5a01
    out 0x80, ax            # two devices behind one wide access
    mov dx, 0x3ff
    mov al, 0x5a
    out dx, al
    in al, dx
    cmp al, 0x5a
    jne 9f
    say "ok\n"
9:  bye 0
