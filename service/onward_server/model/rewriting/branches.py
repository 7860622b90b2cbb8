"""Takes the branch that reads caches out of a file that holds two graphs (`decoder_model_merged`)."""

from onward_server.model.rewriting.graph.model_graph import Graph
from onward_server.model.rewriting.refusal import NotRewritable

CACHE_BRANCH = "use_cache_branch"


def take_cache_branch(graph: Graph) -> bool:
    """Replaces the choice between two graphs by the one that reads caches; returns whether there was a choice.

    That graph is often exported for one token a run. With GroupQueryAttention it takes any number.

    Raises:
        NotRewritable: The input `use_cache_branch` does something else.
    """
    if CACHE_BRANCH not in graph.inputs:
        return False
    choices = graph.consumers(CACHE_BRANCH)
    if len(choices) != 1 or choices[0].op_type != "If":
        raise NotRewritable(f"{CACHE_BRANCH} does not choose between two graphs")
    graph.inline_branch(choices[0], "then_branch")
    graph.remove_input(CACHE_BRANCH)
    return True
