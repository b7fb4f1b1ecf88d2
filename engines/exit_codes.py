"""The exit codes of commands, workers and the queue of a study; docs/reference/commands.md lists them."""

SUCCESS = 0
FAILURE = 1  # with a sentence on stderr
USAGE_ERROR = 2
HALTED = 3  # by a guard, or because the event log cannot be written
NOT_FINITE = 4  # halted because a loss or a gradient was not finite
UNEXPECTED_EXIT = 5  # of a worker or a queue: an exception, or no `ended` event
INTERRUPTED = 130  # Ctrl-C
BROKEN_PIPE = 141  # as of a process that SIGPIPE ended: the reader of stdout has closed it
TERMINATED = 143  # SIGTERM
