"""Trains the network. Runs as a child process (`python -m bokehcli.trainer`); the only part that imports torch."""
