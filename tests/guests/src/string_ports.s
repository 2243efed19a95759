    # REP INSB and REP OUTSB: reads fw_cfg's signature and writes it to the debug port and to COM1; then longer ones, backwards, words.
    cld
    xor eax, eax
    mov dx, 0x510
    out dx, ax              # key 0: the signature
    inc dx
    mov edi, 0x7000
    mov ecx, 4
    rep insb
    mov dx, 0x402
    mov esi, 0x7000
    mov ecx, 4
    rep outsb
    mov dx, 0x3f8
    mov esi, 0x7000
    mov ecx, 4
    rep outsb
    mov ax, 0x19            # the file directory, over a page boundary
    mov dx, 0x510
    out dx, ax
    inc dx
    mov edi, 0x6f80
    mov ecx, 300
    rep insb
    mov edi, 0x7203
    std
    mov ecx, 3
    rep insb
    cld
    mov edi, 0x7300
    insb                    # one, without REP
    mov dx, 0xcfc
    mov ecx, 3
    rep insw
    mov ecx, 2
    rep insd
    mov dx, 0x80
    mov esi, 0x7000
    mov ecx, 2
    rep outsw
    mov ecx, 2
    rep outsd
    xor ecx, ecx
    rep outsb               # none at all
    say "\n"
    bye 0
