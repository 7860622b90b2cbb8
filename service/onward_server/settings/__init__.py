"""The settings of the server and the client commands. Only this package reads the environment: see pyproject.toml."""
