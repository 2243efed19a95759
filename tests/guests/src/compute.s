    # A tight loop in registers, and a periodic timer: no exit but those of its interrupts. The tenth masks the line.
    handle 0x20, 8f
    xor ebx, ebx
    xor ebp, ebp
    open 0xfe
    timer 11932
    sti
1:  inc ebx
    cmp ebp, 10
    jb 1b
    cli
    mov eax, ebp
    show
    say "interrupts\n"
    bye 0
8:  inc ebp
    keep
    cmp ebp, 10
    jb 7f
    mov al, 0xff
    out 0x21, al
7:  eoi
    back
    return
