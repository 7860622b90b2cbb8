"""What an operator sets, for the server and for the client commands: the only readers of the environment."""
