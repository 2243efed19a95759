    # Reads and writes MSRs: the clock and the platform's own, which exit, and PAT and SYSENTER, which KVM answers.
    mov ebx, 3
1:  mov ecx, 0x10           # TSC
    rdmsr
    mov ecx, 0x8b           # microcode revision
    rdmsr
    mov ecx, 0xce           # platform information
    rdmsr
    mov ecx, 0x1a0          # miscellaneous enable
    rdmsr
    wrmsr
    dec ebx
    jnz 1b
    mov ecx, 0x10           # the clock can be set
    xor eax, eax
    mov edx, 0x100
    wrmsr
    rdmsr
    cmp edx, 0x100
    jne 9f
    mov ecx, 0x277          # PAT
    mov eax, 0x00070406
    mov edx, eax
    wrmsr
    rdmsr
    cmp edx, 0x00070406
    jne 9f
    mov ecx, 0x174          # SYSENTER_CS
    mov eax, 0x10
    xor edx, edx
    wrmsr
    rdmsr
    cmp eax, 0x10
    jne 9f
    mov ecx, 0xc0000080     # EFER
    rdmsr
    say "ok\n"
9:  bye 0
