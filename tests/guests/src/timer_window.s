    # The PIT asks in a loop that makes exits with interrupts disabled, then enables them: a window opens there. The last exit,
    # with interrupts enabled, is for engines whose window is not prompt: there the interrupt waits until then.
    handle 0x20, 8f
    xor ebx, ebx
    open 0xfe
    timer 1193
1:  cli
    mov ecx, 5
2:  in al, 0x61
    dec ecx
    jnz 2b
    sti
    nop
    nop
    in al, 0x61
    cmp ebx, 5
    jb 1b
    cli
    say "ok\n"
    bye 0
8:  inc ebx
    keep
    eoi
    back
    return
