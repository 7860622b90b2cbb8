"""The error that ends a rewriting: the graph then runs as it is."""


class NotRewritable(Exception):
    """The graph has a form that is not recognized; the message is a sentence for the log."""
