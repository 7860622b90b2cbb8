"""The tool formats: one module for each way in which models write tool calls. `format_registry` lists them."""
