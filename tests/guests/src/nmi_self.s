    # Sends itself NMIs with interrupts off. One that is sent while another is being served waits for its IRETQ.
    handle 2, 8f
    enable_apic
    xor ebx, ebx
    xor ebp, ebp
    apic 0x300, 0x44400
    out 0x80, al
    cmp ebx, 1
    jne 9f
    mov ebp, 1
    apic 0x300, 0x44400     # its handler sends the third
    out 0x80, al
    out 0x80, al
    cmp ebx, 3
    jne 9f
    say "ok\n"
9:  bye 0
8:  inc ebx
    cmp ebp, 1
    jne 7f
    inc ebp
    push rdi
    apic 0x300, 0x44400
    out 0x80, al
    pop rdi
    cmp ebx, 2              # it did not come yet
    je 7f
    mov ebx, 100
7:  iretq
