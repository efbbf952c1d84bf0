"""Memory that is used again, and pages asked for.

Enters: sizes, maps, file descriptors. Leaves: aligned arrays whose memory returns when
the last reference dies, the free memory of the machine, pages read ahead, copies out
of maps. It imports the ground alone.
"""
