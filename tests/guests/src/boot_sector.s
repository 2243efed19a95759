    # A boot sector, and the sector behind it, which it has the BIOS read. Both read the clock: this one before anything of it
    # exits, the other behind a jump that nothing leads to but its own execution. The clock never runs backwards.
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    push dx                     # DL is the drive
    rdtsc
    mov edi, eax
    mov ebp, edx
    pop dx
    at packet, 7f
    mov si, offset packet
    mov ah, 0x42                # extended read (Enhanced Disk Drive Specification 1.1, INT 13)
    int 0x13
    jc 9f
    mov ax, 0x7e00
    jmp ax
9:  bye 1
7:  .byte 16, 0
    .word 1, 0x7e00, 0
    .quad 1
    .fill 510 - (. - 99b), 1, 0
    .byte 0x55, 0xaa

    in al, 0x61
    mov cx, 50
1:  rdtsc
    mov ebx, eax
    mov esi, edx
    sub ebx, edi
    sbb esi, ebp
    jc 9f
    mov edi, eax
    mov ebp, edx
    dec cx
    jnz 1b
    say "booted\n"
    bye 0
9:  bye 2
    .fill 1024 - (. - 99b), 1, 0
