    # CR8 and the task priority register are one: either holds an interrupt back, and each shows what was written to the other.
    handle 0x55, 8f
    enable_apic
    xor ebx, ebx
    mov eax, 5
    mov cr8, rax
    peek 0x80
    cmp eax, 0x50
    jne 9f
    apic 0x300, 0x44055
    sti
    nop
    out 0x80, al
    cmp ebx, 0
    jne 9f
    mov eax, 4
    mov cr8, rax            # lowered: it comes, here or at the next exit
    nop
    out 0x80, al
    cmp ebx, 1
    jne 9f
    apic 0x80, 0x93
    mov rax, cr8
    cmp eax, 9
    jne 9f
    apic 0x300, 0x44055
    out 0x80, al
    cmp ebx, 1
    jne 9f
    xor eax, eax
    mov cr8, rax
    out 0x80, al
    cli
    cmp ebx, 2
    jne 9f
    peek 0x80
    cmp eax, 0
    jne 9f
    say "ok\n"
9:  bye 0
8:  push rdi
    inc ebx
    apic 0xb0, 0
    pop rdi
    iretq
