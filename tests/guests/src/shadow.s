    # A pending interrupt waits out the instruction after STI and after MOV SS, also where that instruction makes an exit.
    handle 0x20, 8f
    xor ebx, ebx
    open 0xfe
    timer 1193
    mov ecx, 5
1:  mov al, 0x0a            # OCW3: read the interrupt requests
    out 0x20, al
2:  in al, 0x20
    test al, 1
    jz 2b
    mov ebp, ebx
    sti
    out 0x80, al            # in the shadow of STI
    cli                     # the interrupt is taken before this
    inc ebp
    cmp ebx, ebp            # on a slow host the next tick may have come as well
    jb 9f
    mov al, 0x0a
    out 0x20, al
3:  in al, 0x20
    test al, 1
    jz 3b
    sti
    mov eax, ss
    mov ss, eax
    out 0x80, al            # in the shadow of MOV SS
    nop
    cli
    dec ecx
    jnz 1b
    say "ok\n"
9:  bye 0
8:  inc ebx
    keep
    eoi
    back
    return
