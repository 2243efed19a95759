    # Leaves a code with the exit device.
    say "bye\n"
    bye 42
