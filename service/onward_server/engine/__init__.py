"""The decoding loop: token ids in, token events out. Imports no asyncio, threads or clock: see the contract."""
