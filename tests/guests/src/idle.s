    # Halts with interrupts enabled, but no timer runs and nobody types.
    say "idle\n"
    sti
    hlt
    ud2
