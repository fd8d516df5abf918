"""What every process has: tasks and threads, log lines, the watchdog, histograms."""
