    # Executes RDRAND in code that it writes first, where no disassembly finds it, and shows a few bits. Where hiding it in
    # CPUID keeps it from running, it raises #UD.
    handle 6, 8f
    mov byte ptr [0x9000], 0x0f
    mov word ptr [0x9001], 0xf0c7
    mov byte ptr [0x9003], 0xc3
    mov edi, 8
1:  call 99b + 0x1000
    xor ecx, ecx
    xor edx, edx
    and eax, 15
    out 0x80, al
    dec edi
    jnz 1b
    bye 0
8:  bye 6
