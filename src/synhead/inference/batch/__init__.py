"""Many animations: a file of jobs, a journal that survives a kill, a queue, and whoever runs its jobs."""
