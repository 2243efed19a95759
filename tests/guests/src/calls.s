    # Calls: each function starts at a multiple of 256. `outer` calls `middle`, and that three ones that write to a port: with a frame
    # as it should be, with one that points at itself, and without any, where RBP is a number like others.
    .ifndef CALLS
    .set CALLS, 1
    .macro frame
    .if BITS == 64
    push rbp
    mov rbp, rsp
    .elseif BITS == 32
    push ebp
    mov ebp, esp
    .else
    push bp
    mov bp, sp
    .endif
    .endm
    .macro unframe
    .if BITS == 64
    pop rbp
    .elseif BITS == 32
    pop ebp
    .else
    pop bp
    .endif
    ret
    .endm
    .endif
    jmp 1f
    .p2align 8
1:  xor ebp, ebp
    call 2f                 # 0x8100: start
    bye 0
    .p2align 8
2:  frame                   # 0x8200: outer
    call 3f
    unframe
    .p2align 8
3:  frame                   # 0x8300: middle
    call 4f
    call 5f
    call 6f
    unframe
    .p2align 8
4:  frame                   # 0x8400: framed
    out 0x80, al
    unframe
    .p2align 8
5:  frame                   # 0x8500: looped
    .if BITS == 64
    mov rbx, [rbp]
    mov [rbp], rbp
    out 0x80, al
    mov [rbp], rbx
    .elseif BITS == 32
    mov ebx, [ebp]
    mov [ebp], ebp
    out 0x80, al
    mov [ebp], ebx
    .else
    mov bx, [bp]
    mov [bp], bp
    out 0x80, al
    mov [bp], bx
    .endif
    unframe
    .p2align 8
6:  mov ebx, ebp            # 0x8600: bare
    mov ebp, 0x12345
    out 0x80, al
    mov ebp, ebx
    ret
