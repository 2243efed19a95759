    # Counts the bits of a word that nobody owns, for ever: KVM emulates no POPCNT, so somebody else finishes each of them.
1:  popcnt eax, dword ptr [0x30000000]
    jmp 1b
