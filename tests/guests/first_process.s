# A first process that makes no system call, for KVM engines on which user mode cannot: it starts, takes page faults, computes,
# and ends with an undefined instruction. The kernel then says so, with RAX, and that it will not go on without its init.
        .globl _start
_start: xor     %eax, %eax              # a sum over pages that the kernel maps as they are touched
        lea     pages(%rip), %rdi
        mov     $16, %ecx
1:      mov     %rcx, (%rdi)
        imul    $31, %rax, %rax
        add     (%rdi), %rax
        add     $4096, %rdi
        dec     %ecx
        jnz     1b
        ud2
        .bss
pages:  .skip   16 * 4096
        .section .note.GNU-stack, "", @progbits
