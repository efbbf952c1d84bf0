raise ImportError("left out; see `running_jobs.left_out`")
