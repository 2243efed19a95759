    # Asks KVM to keep its clock at 0x9000, as Linux does, and shows what was written there (KVM's Documentation, x86/msr.rst:
    # MSR_KVM_SYSTEM_TIME_NEW). Where the MSR is denied, it raises #GP.
    handle 13, 8f
    mov ecx, 0x4b564d01
    xor edx, edx
    mov eax, 0x9001
    wrmsr
    mov edi, 2
1:  mov eax, [0x9008]       # tsc_timestamp
    out 0x80, eax
    mov eax, [0x9010]       # system_time
    out 0x80, eax
    dec edi
    jnz 1b
    bye 0
8:  bye 13
