    # One RDTSCP, whose result is thrown away, in code that the guest writes first, where no disassembly finds it; #UD where it is
    # hidden.
    handle 6, 8f
    mov byte ptr [0x9000], 0x0f
    mov word ptr [0x9001], 0xf901
    mov byte ptr [0x9003], 0xc3
    out 0x80, al
    call 99b + 0x1000
8:  xor eax, eax
    xor ecx, ecx
    xor edx, edx
    say "ok\n"
    bye 0
