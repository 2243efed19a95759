    # Keeps different values in eight XMM registers across exits and interrupts.
    .if BITS == 32
    mov eax, cr4
    or eax, 0x600           # OSFXSR, OSXMMEXCPT
    mov cr4, eax
    .endif
    handle 0x20, 8f
    mov edi, 0x7000
    mov ecx, 0x80
1:  mov [edi + ecx], cl
    dec ecx
    jnz 1b
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    movups xmm\n, [edi + \n * 16 + 1]
    .endr
    xor ebx, ebx
    open 0xfe
    timer 1193
    sti
2:  in al, 0x61
    out 0x80, al
    cmp ebx, 3
    jb 2b
    cli
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    movups [edi + \n * 16 + 0x101], xmm\n
    .endr
    mov ecx, 0x80
3:  cmp [edi + ecx + 0x100], cl
    jne 9f
    dec ecx
    jnz 3b
    say "ok\n"
9:  bye 0
8:  inc ebx
    keep
    eoi
    back
    return
