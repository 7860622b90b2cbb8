"""One module per skill; each generates conversations."""
