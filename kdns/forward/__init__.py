"""Names that are not ours: which upstream is asked, when another one is, what is kept of the answers, and whose turn
it is. Pure: values and `now` in, actions out. Not here: sockets and processes (kdns.server), messages (kdns.wire).
"""
