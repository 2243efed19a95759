    # RDRAND and RDSEED, whatever CPUID says: there is a number (CF, and no other flag), of the operand's width, and it is not
    # always the same.
    .macro number instruction, register
    mov e\register, -1
    stc
    \instruction e\register
    jnc 9f
    jz 9f
    js 9f
    jo 9f
    .endm

    number rdrand, bx
    mov eax, ebx
    out 0x80, al
    number rdseed, si
    xor ebx, esi
    number rdrand, cx
    number rdseed, di
    xor ecx, edi
    or ebx, ecx
    jz 9f
    mov ebp, 0xcafe0000
    rdrand bp
    mov eax, ebp
    shr eax, 16
    cmp eax, 0xcafe
    jne 9f
    .if BITS == 64
    xor r9d, r9d
    xor r10d, r10d
    mov r11d, 32
1:  rdrand rax
    jnc 9f
    or r9, rax
    rdseed r8
    jnc 9f
    or r10, r8
    dec r11d
    jnz 1b
    # Of 32 numbers, some have bits in the upper half; a 32-bit result has none.
    shr r9, 32
    jz 9f
    shr r10, 32
    jz 9f
    mov r12, -1
    rdrand r12d
    shr r12, 32
    jnz 9f
    .endif
    say "ok\n"
    bye 0
9:  say "wrong\n"
    bye 1
    .purgem number
