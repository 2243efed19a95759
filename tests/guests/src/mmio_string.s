    # REP STOSB and REP MOVS to, from and between memory that nobody owns, over a page boundary, forwards and backwards.
    .set NOBODY, 0x30000000
    cld
    mov edi, NOBODY + 0xffd
    mov al, 0x5a
    mov ecx, 6
    rep stosb
    mov esi, NOBODY + 0xffe
    mov edi, 0x7000
    mov ecx, 5
    rep movsb
    mov eax, [0x7001]
    cmp eax, -1
    jne 9f
    mov dword ptr [0x7004], 0x12345678
    mov esi, 0x7000
    mov edi, NOBODY + 0x100
    mov ecx, 8
    rep movsb
    mov esi, 0x7000
    mov edi, NOBODY + 0x200
    mov ecx, 2
    rep movsd
    mov esi, NOBODY
    mov edi, NOBODY + 0x300
    mov ecx, 2
    rep movsd
    std
    mov esi, NOBODY + 0x10
    mov edi, 0x7010
    mov ecx, 3
    rep movsw
    cld
    say "ok\n"
9:  bye 0
