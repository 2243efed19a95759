    # A breakpoint, with an interrupt descriptor table that holds nothing: a triple fault.
    say "bye\n"
    int3
    say "back\n"
    bye 1
