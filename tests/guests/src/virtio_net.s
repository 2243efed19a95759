    # Takes frames from the network card in the first slot, interrupted by each, waiting in HLT for the next, or computing where COMPUTES.
    # Shows the length and the first word behind the addresses and the type, and sends the frame back to where it came from. One whose word
    # is ff ff ff ff is the last.
    .set REGISTERS, 0xd0000000
    .set TABLE, 0x10000
    .set AVAIL, 0x11000
    .set USED, 0x12000
    .set SEND, 0x800        # of the queue that sends, behind those
    .set BUFFERS, 0x100000
    .set FRAME, 0x110000
    .set HEADER, 12

    .macro card register, value
    mov edi, REGISTERS + \register
    mov dword ptr [edi], \value
    .endm
    .macro queue number, behind
    card 0x30, \number
    card 0x38, 8
    card 0x80, TABLE + \behind
    card 0x84, 0
    card 0x90, AVAIL + \behind
    card 0x94, 0
    card 0xa0, USED + \behind
    card 0xa4, 0
    card 0x44, 1
    .endm

    handle 0x25, 8f
    open 0xdf               # IRQ 5
    card 0x70, 0            # reset; acknowledge and driver; version 1; features are fine
    card 0x70, 3
    card 0x24, 1
    card 0x20, 1
    card 0x70, 11
    queue 0, 0
    queue 1, SEND
    card 0x70, 15

    xor ecx, ecx            # eight buffers of 2 KiB
1:  mov eax, ecx
    shl eax, 4
    add eax, TABLE
    mov edx, ecx
    shl edx, 11
    add edx, BUFFERS
    mov [eax], edx
    mov dword ptr [eax + 8], 0x800
    mov dword ptr [eax + 12], 2
    mov edx, AVAIL
    mov [edx + ecx * 2 + 4], cx
    inc ecx
    cmp ecx, 8
    jb 1b
    mov [edx + 2], cx
    card 0x50, 0

    xor ebx, ebx            # frames taken
1:  cli
    mov edx, USED
    cmp bx, [edx + 2]
    jne 2f
    sti
    .if COMPUTES
3:  inc ebp                 # counts until it is interrupted
    cmp dword ptr [0x7000], 0
    je 3b
    mov dword ptr [0x7000], 0
    .else
    hlt
    .endif
    jmp 1b
2:  sti
    mov ecx, ebx
    and ecx, 7
    mov eax, [edx + ecx * 8 + 8]
    push eax                # its length, with the header
    mov ebp, [edx + ecx * 8 + 4]
    inc ebx
    sub eax, HEADER
    show
    mov esi, ebp
    shl esi, 11
    add esi, BUFFERS
    mov eax, [esi + HEADER + 14]
    show
    pop ecx                 # a copy with turned addresses
    push eax
    mov edi, FRAME
    mov edx, TABLE + SEND
    mov [edx], edi
    mov [edx + 8], ecx
    cld
    rep movsb
    mov edi, FRAME + HEADER
    mov eax, [edi]
    xchg eax, [edi + 6]
    mov [edi], eax
    mov ax, [edi + 4]
    xchg ax, [edi + 10]
    mov [edi + 4], ax
    mov edx, AVAIL + SEND
    inc word ptr [edx + 2]
    card 0x50, 1

    mov edx, AVAIL          # the buffer, once more
    movzx ecx, word ptr [edx + 2]
    and ecx, 7
    mov [edx + ecx * 2 + 4], bp
    inc word ptr [edx + 2]
    card 0x50, 0
    pop eax
    cmp eax, -1
    jne 1b
    bye 0

8:  keep
    keep_edi
    mov edi, REGISTERS
    mov eax, [edi + 0x60]
    mov [edi + 0x64], eax
    mov dword ptr [0x7000], 1
    eoi
    back_edi
    back
    return
    .purgem card
    .purgem queue
