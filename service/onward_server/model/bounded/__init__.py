"""Tries untrusted files in a child process whose memory and time are bounded: see decision 0030."""
