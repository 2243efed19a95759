    # Prints escape sequences: colours, a window title, a cursor that moves, bytes that are no UTF-8.
    say "\033[31mred\033[0m \033]0;title\007 \033[2J\233\377 end\n"
    bye 0
