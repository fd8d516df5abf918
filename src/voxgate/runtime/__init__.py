"""What every process uses: tasks and threads, logs, the watchdog, histograms."""
