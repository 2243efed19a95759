    # Reads a word that nobody owns, for ever.
1:  mov eax, dword ptr [0x30000000]
    jmp 1b
