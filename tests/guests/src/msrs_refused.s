    # Every access to KVM's own MSRs, which would let KVM write guest memory, and to MSRs that do not exist raises #GP.
    handle 13, 8f
    .irp msr, 0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, 0x4b564d04, 0x11, 0x12, 0x12345
    mov ecx, \msr
    rdmsr
    xor edx, edx
    mov eax, 0x7001
    wrmsr
    .endr
    say "\n"
    bye 0

8:  # Skips RDMSR or WRMSR, two bytes long, and prints a mark. In real mode there is no error code.
    keep
    mov al, '#'
    mov dx, 0x3f8
    out dx, al
    back
    .if BITS == 16
    mov bp, sp
    add word ptr [bp], 2
    .elseif BITS == 32
    add esp, 4
    add dword ptr [esp], 2
    .else
    add rsp, 8
    add qword ptr [rsp], 2
    .endif
    return
