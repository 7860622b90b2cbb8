"""Threads whose stacks are deep enough for what descends far; it knows nothing of what they run."""

import threading
from concurrent.futures import ThreadPoolExecutor

_STACK_BYTES = 64 * 2**20


def deep_workers(num_threads: int) -> ThreadPoolExecutor:
    """Threads that are there from now on; only the part of a stack that is used takes memory."""
    workers = ThreadPoolExecutor(num_threads, thread_name_prefix="deep-stack")
    barrier = threading.Barrier(num_threads)
    previous = threading.stack_size(_STACK_BYTES)
    try:
        all_started = [workers.submit(barrier.wait) for _ in range(num_threads)]
    finally:
        threading.stack_size(previous)
    for started in all_started:
        started.result()
    return workers
