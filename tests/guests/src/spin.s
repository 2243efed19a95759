    # Prints, then computes for ever without an exit. With interrupts on (none is open at the controller): Bochs' emulation of
    # VMX does not let the host interrupt a guest that has them off.
    say "spinning\n"
    sti
1:  inc ebx
    jmp 1b
