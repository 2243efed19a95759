    # Reads the virtio disk in the first slot from end to end, 64 KiB at a time, then writes its first part and reads that again.
    # Prints what it read again, and a sum over the rest.
    .set REGISTERS, 0xd0000000
    .set TABLE, 0x10000
    .set AVAIL, 0x11000
    .set USED, 0x12000
    .set HEADER, 0x13000
    .set STATUS, 0x13010
    .set DATA, 0x100000
    .set ROOM, 0x10000

    .macro virtio register, value
    mov edi, REGISTERS + \register
    mov dword ptr [edi], \value
    .endm
    .macro describe index, gpa, bytes, flags, next
    mov edi, TABLE + \index * 16
    mov dword ptr [edi], \gpa
    mov dword ptr [edi + 8], \bytes
    mov dword ptr [edi + 12], \flags + (\next << 16)
    .endm

    virtio 0x70, 0          # reset; acknowledge and driver; version 1; features are fine
    virtio 0x70, 3
    virtio 0x24, 1
    virtio 0x20, 1
    virtio 0x70, 11
    virtio 0x30, 0          # the queue
    virtio 0x38, 8
    virtio 0x80, TABLE
    virtio 0x84, 0
    virtio 0x90, AVAIL
    virtio 0x94, 0
    virtio 0xa0, USED
    virtio 0xa4, 0
    virtio 0x44, 1
    virtio 0x70, 15
    describe 0, HEADER, 16, 1, 1
    describe 1, DATA, ROOM, 3, 2
    describe 2, STATUS, 1, 2, 0

    mov edi, REGISTERS + 0x100
    mov esi, [edi]          # sectors
    mov edi, HEADER
    mov ebp, DATA
    xor ebx, ebx
    push 0                  # the sum
1:  mov [edi + 8], ebx
    call 5f
    mov eax, [ebp + ROOM - 4]
    rol dword ptr [esp], 1
    add [esp], eax
    add ebx, ROOM / 512
    cmp ebx, esi
    jb 1b

    mov dword ptr [ebp], 0x11223344
    mov dword ptr [edi], 1
    mov dword ptr [edi + 8], 0
    mov edx, TABLE + 16
    mov word ptr [edx + 12], 1
    call 5f
    mov dword ptr [ebp], 0
    mov dword ptr [edi], 0
    mov edx, TABLE + 16
    mov word ptr [edx + 12], 3
    call 5f
    mov eax, [ebp]
    show
    pop eax
    show
    bye 0

    # Makes a request: the ring of the driver holds zeros, which is where every chain begins.
5:  mov edx, AVAIL
    inc word ptr [edx + 2]
    mov ax, [edx + 2]
    mov edx, REGISTERS + 0x50
    mov dword ptr [edx], 0
    mov edx, USED
6:  cmp ax, [edx + 2]
    jne 6b
    mov edx, STATUS
    cmp byte ptr [edx], 0
    jne 7f
    ret
7:  say "failed\n"
    bye 1
