    # Real mode: software interrupts through the interrupt vector table, nested, with exits in their handlers.
    handle 0x40, 8f
    handle 0x41, 7f
    mov ebx, 5
1:  int 0x40
    dec ebx
    jnz 1b
    say "ok\n"
    bye 0
8:  in al, 0x61
    int 0x41
    iret
7:  mov al, bl
    out 0x80, al
    iret
