    # The multiboot header of a file in no known format: its address fields say what to load where (flag 16), here all of it.
    # Flags 0 and 1: modules at pages, and memory information. Label 98 is the entry point, 97 the end of the file.
    .set FLAGS, 0x10003
    .long 0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
    .long BASE              # the header
    .long BASE              # load
    .long 97f - 99b + BASE  # load up to here
    .long 97f - 99b + BASE + 0x4000
    .long 98f - 99b + BASE  # enter
