    # A multiboot kernel: prints what its loader tells it, reads the clock, and takes interrupts from the local APIC: five of its
    # timer in one-shot mode, seven in periodic mode, three that it sends itself.
98: cmp eax, 0x2badb002
    jne 96f
    at stack, 97f
    mov esp, offset stack + 0x4000
    mov ebp, ebx            # the information structure
    at pointer, 91f         # the loader's descriptors may be gone
    lgdt [pointer]
    .byte 0xea              # jmp 8:next
    .long 95f - 99b + BASE
    .word 8
95: mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    cld
    say "loader: "
    mov esi, [ebp + 64]
    call 80f
    say "\ncommand line: "
    mov esi, [ebp + 16]
    call 80f
    say "\nKiB: "
    mov eax, [ebp + 4]
    show
    mov eax, [ebp + 8]
    show
    say "\n"
    mov edi, [ebp + 48]     # the memory map
    mov ebx, edi
    add ebx, [ebp + 44]
1:  mov eax, [edi + 8]
    show
    mov eax, [edi + 4]
    show
    mov eax, [edi + 16]
    show
    mov eax, [edi + 12]
    show
    mov eax, [edi + 20]
    show
    say "\n"
    add edi, [edi]
    add edi, 4
    cmp edi, ebx
    jb 1b
    mov edi, [ebp + 24]     # the modules
    mov ebx, [ebp + 20]
2:  dec ebx
    js 3f
    mov eax, [edi]
    show
    mov esi, [edi + 8]
    call 80f
    say ": "
    mov esi, [edi]
    mov ecx, [edi + 4]
    sub ecx, esi
    mov dx, 0x3f8
    rep outsb
    say "\n"
    add edi, 16
    jmp 2b
3:  rdtsc
    mov ecx, eax
    mov ebx, edx
    rdtsc
    sub eax, ecx
    sbb edx, ebx
    jc 96f
    or eax, edx
    jz 96f
    say "the clock goes on\n"
    handle 0x40, 84f
    handle 0x41, 85f
    handle 0x42, 86f
    enable_apic
    xor ebx, ebx            # one-shot
    xor ecx, ecx            # periodic
    xor esi, esi            # to itself
    apic 0x3e0, 0xb         # divide by 1
    apic 0x320, 0x40
4:  apic 0x380, 1000000
    mov edx, ebx
5:  sti
    hlt
    cli
    cmp ebx, edx
    je 5b
    cmp ebx, 5
    jb 4b
    apic 0x320, 0x20041     # periodic, until its handler masks it
    apic 0x380, 1000000
6:  sti
    hlt
    cli
    cmp ecx, 7
    jb 6b
    apic 0x300, 0x44042
    sti
    nop
    out 0x80, al
    cli
    apic 0x300, 0x44042
    apic 0x310, 0           # by its id
    sti
    nop
    out 0x80, al
    cli
    apic 0x300, 0x4042
    sti
    nop
    out 0x80, al
    cli
    mov edi, esi
    say "interrupts: "
    mov eax, ebx
    show
    mov eax, ecx
    show
    mov eax, edi
    show
    say "\n"
    bye 0
96: say "something is wrong\n"
    bye 1

    # Prints the text at ESI.
80: mov dx, 0x3f8
81: lodsb
    test al, al
    jz 82f
    out dx, al
    jmp 81b
82: ret

    # Handlers: one-shot, periodic, to itself.
84: inc ebx
    jmp 87f
85: inc ecx
    cmp ecx, 7
    jb 87f
    mov ecx, 7              # one more may have come before the timer was masked
    keep_edi
    apic 0x320, 0x30041
    back_edi
    jmp 87f
86: inc esi
87: keep_edi
    apic 0xb0, 0
    back_edi
    return

    .balign 8
90: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
91: .word 23
    .long 90b - 99b + BASE
97:
