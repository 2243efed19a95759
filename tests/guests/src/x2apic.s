    # Where CPUID offers it: the APIC's registers as MSRs. A self-IPI, the timer, and the end of interrupts.
    mov eax, 1
    xor ecx, ecx
    cpuid
    test ecx, 0x200000
    jz 5f
    handle 0x55, 8f
    xor ebx, ebx
    mov ecx, 0x1b
    rdmsr
    or eax, 0x400
    wrmsr
    mov ecx, 0x802          # id
    rdmsr
    test eax, eax
    jnz 9f
    mov eax, 0x1ff
    xor edx, edx
    mov ecx, 0x80f
    wrmsr
    mov eax, 0x10000        # LINT0
    mov ecx, 0x835
    wrmsr
    mov eax, 0x55
    mov ecx, 0x83f          # self-IPI
    wrmsr
    mov ecx, 0x822          # IRR
    rdmsr
    cmp eax, 0x200000
    jne 9f
    sti
    nop
    out 0x80, al
    cli
    cmp ebx, 1
    jne 9f
    xor edx, edx
    mov eax, 0xb            # divide by 1
    mov ecx, 0x83e
    wrmsr
    mov eax, 0x55
    mov ecx, 0x832
    wrmsr
    mov eax, 1000000
    mov ecx, 0x838
    wrmsr
    sti
    hlt
    cli
    cmp ebx, 2
    jne 9f
5:  say "ok\n"
9:  bye 0
8:  inc ebx
    xor eax, eax
    xor edx, edx
    mov ecx, 0x80b          # EOI
    wrmsr
    return
