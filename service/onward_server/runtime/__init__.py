"""The seam where asyncio meets the engine's thread."""
