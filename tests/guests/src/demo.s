    # What a small kernel does when it starts: greets on COM1, scans PCI, reads the real-time clock, times a loop with the
    # TSC, and lets the timer interrupt it.
    .set BASE, 0x8000
    .set IDT, 0x6000
    .set TICKS, 0x5000

    lea rsi, [rip + 7f]
    call print

    # PCI: vendor ids of the 32 devices of bus 0.
    xor ebx, ebx
    xor ebp, ebp
1:  mov eax, ebx
    shl eax, 11
    or eax, 0x80000000
    mov dx, 0xcf8
    out dx, eax
    mov dx, 0xcfc
    in eax, dx
    cmp ax, 0xffff
    je 2f
    inc ebp
2:  inc ebx
    cmp ebx, 32
    jb 1b
    lea rsi, [rip + 8f]
    call print
    mov eax, ebp
    call print_digit

    # The real-time clock: wait until no update is in progress, read the seconds.
3:  mov al, 0x0a
    out 0x70, al
    in al, 0x71
    test al, 0x80
    jnz 3b
    xor al, al
    out 0x70, al
    in al, 0x71

    # The TSC before and after a hundred POST codes.
    rdtsc
    mov r8d, eax
    mov ecx, 100
4:  mov al, cl
    out 0x80, al
    dec ecx
    jnz 4b
    rdtsc
    sub eax, r8d

    # An IDT with one gate: vector 0x20, the timer.
    lea rax, [rip + timer]
    mov edi, IDT + 0x20 * 16
    mov [rdi], ax
    mov word ptr [rdi + 2], 8
    mov word ptr [rdi + 4], 0x8e00
    shr rax, 16
    mov [rdi + 6], ax
    shr rax, 16
    mov [rdi + 8], eax
    mov dword ptr [rdi + 12], 0
    mov word ptr [0x4ff0], 0xfff
    mov qword ptr [0x4ff2], IDT
    lidt [0x4ff0]

    # Interrupt controllers: vectors from 0x20, only the timer open. PIT channel 0: rate generator, 100 Hz.
    mov al, 0x11
    out 0x20, al
    out 0xa0, al
    mov al, 0x20
    out 0x21, al
    mov al, 0x28
    out 0xa1, al
    mov al, 4
    out 0x21, al
    mov al, 2
    out 0xa1, al
    mov al, 1
    out 0x21, al
    out 0xa1, al
    mov al, 0xfe
    out 0x21, al
    mov al, 0xff
    out 0xa1, al
    mov al, 0x34
    out 0x43, al
    mov al, 0x9c
    out 0x40, al
    mov al, 0x2e
    out 0x40, al

    # Ten ticks.
    mov dword ptr [TICKS], 0
5:  sti
    hlt
    cli
    cmp dword ptr [TICKS], 10
    jb 5b

    lea rsi, [rip + 9f]
    call print
    xor eax, eax
    out 0xf4, al
6:  hlt
    jmp 6b

timer:
    push rax
    inc dword ptr [TICKS]
    mov al, 0x20
    out 0x20, al
    pop rax
    iretq

    # Prints the text at RSI, polling the line status before each character as a careful driver does.
print:
    lodsb
    test al, al
    jz 2f
    call print_char
    jmp print
2:  ret
print_digit:
    add al, '0'
    call print_char
    mov al, 10
print_char:
    mov ah, al
    mov dx, 0x3fd
1:  in al, dx
    test al, 0x20
    jz 1b
    mov dx, 0x3f8
    mov al, ah
    out dx, al
    ret

7:  .asciz "hello from a guest under trapline\n"
8:  .asciz "PCI devices: "
9:  .asciz "ten timer interrupts later: bye\n"
