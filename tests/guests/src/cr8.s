    # Raises and lowers CR8, the task priority, with exits between; it keeps what was written.
    mov ecx, 4
1:  lea eax, [ecx + 8]
    mov cr8, rax
    in al, 0x61
    mov rbx, cr8
    mov eax, ecx
    mov cr8, rax
    out 0x80, al
    mov rbx, cr8
    cmp ebx, ecx
    jne 9f
    dec ecx
    jnz 1b
    say "ok\n"
9:  bye 0
