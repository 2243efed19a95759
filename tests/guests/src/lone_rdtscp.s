    # One RDTSCP, whose result is thrown away; #UD where it is hidden.
    handle 6, 8f
    out 0x80, al
    rdtscp
8:  xor eax, eax
    xor ecx, ecx
    xor edx, edx
    say "ok\n"
    bye 0
