    # The PIT through pin 2 of the I/O APIC, edge-triggered; the 8259A is masked. Masking the pin stops it.
    handle 0x61, 8f
    enable_apic
    xor ebx, ebx
    route 0x15, 0           # to id 0
    route 0x14, 0x61
    timer 11932
1:  sti
    hlt
    cli
    cmp ebx, 5
    jb 1b
    route 0x14, 0x10061
    sti                     # one that came before
    nop
    out 0x80, al
    cli
    mov ecx, 20
2:  in al, 0x61
    dec ecx
    jnz 2b
    mov ecx, ebx
    sti
    nop
    in al, 0x61
    cli
    cmp ebx, ecx
    jne 9f
    say "ok\n"
9:  bye 0
8:  inc ebx
    keep_edi
    apic 0xb0, 0
    back_edi
    return
