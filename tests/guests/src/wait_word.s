    # Spins on a word of memory that an interrupt handler changes.
    handle 0x20, 8f
    mov dword ptr [0x7000], 0
    mov ecx, 10
    open 0xfe
    timer 11932
    sti
1:  mov ebx, [0x7000]
2:  cmp [0x7000], ebx
    je 2b
    dec ecx
    jnz 1b
    cli
    cmp dword ptr [0x7000], 10
    jb 9f
    say "ten changes\n"
    bye 0
9:  say "too few\n"
    bye 1
8:  inc dword ptr [0x7000]
    keep
    eoi
    back
    return
