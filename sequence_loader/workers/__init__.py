"""The features of batches, prepared beside the training.

Enters: planned batches. Leaves: their features, or a `WorkerError`. Threads and
processes are ours alone, and no process imports a backend. It imports the ground and
the rooms up to `batches`.

How workers end, by what comes first:

    close()         the crew is closed: a busy process is killed, the socket tells an
                    idle one, threads are waited for, a few seconds at most. The next
                    batch starts a new crew
    garbage         a finalizer closes the crew, and waits for nothing
    the end of the  `ended` is set, and no crew is made any more; all are closed; what
    interpreter     TensorFlow's threads ask for is an error, until none is inside
    Ctrl-C          the terminal sends it to all: an idle process ignores it, a busy one
                    dies of it. In the main thread the wait raises, which closes the
                    crew; in another the watch for interrupts does, and none is started
                    until the main thread asks
    the parent's    the other end of each `lifeline` closes, and the kernel kills the
    death           process, in whatever code it is
    a fork          the child closes its copies of the sockets and has no crew: who asks
                    for a batch reads it
"""
