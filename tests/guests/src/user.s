    # A loop in user mode, and a periodic timer: its interrupts come from there and go back there; the tenth ends it. Descriptors
    # at 0x7000, TSS at 0x7100, what was counted at 0x7200.
    handle 0x20, 8f
    mov edi, 0x7000
    mov dword ptr [edi + 0x08], 0x0000ffff  # code, ring 0
    mov dword ptr [edi + 0x0c], 0x00af9b00
    mov dword ptr [edi + 0x10], 0x0000ffff  # data, ring 0
    mov dword ptr [edi + 0x14], 0x00cf9300
    mov dword ptr [edi + 0x18], 0x0000ffff  # data, ring 3
    mov dword ptr [edi + 0x1c], 0x00cff300
    mov dword ptr [edi + 0x20], 0x0000ffff  # code, ring 3
    mov dword ptr [edi + 0x24], 0x00affb00
    mov dword ptr [edi + 0x28], 0x71000067  # TSS
    mov dword ptr [edi + 0x2c], 0x00008900
    mov word ptr [0x5fe0], 0x37
    mov dword ptr [0x5fe2], 0x7000
    lgdt [0x5fe0]
    mov dword ptr [0x7104], 0x8000          # stack of ring 0
    mov word ptr [0x7166], 0x68             # no map of ports
    mov eax, 0x28
    ltr ax
    open 0xfe
    timer 11932
    at user, 1f
    push 0x1b
    push 0x7800
    push 0x202                              # interrupts on
    push 0x23
    push offset user
    iretq
1:  inc rbx
    jmp 1b
8:  cmp word ptr [rsp + 8], 0x23
    jne 7f
    inc dword ptr [0x7200]
    cmp dword ptr [0x7200], 10
    je 9f
7:  keep
    eoi
    back
    return
9:  say "ten interrupts from user mode\n"
    bye 0
