    # Prints, then computes for ever without an exit.
    say "spinning\n"
1:  inc ebx
    jmp 1b
