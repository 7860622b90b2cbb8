"""Grammars that constrain what a model writes, compiled once per request and matched token by token.

In reading order:

- `compiler`: from a response format or tool calls to a `Grammar`; `trial` tests what it costs, `compile_errors` says
  why it does not compile.
- `matcher`: follows one sequence through its grammar and fills the masks of allowed tokens.
- `response_formats`, `user_grammar`: check a response format and write its grammar; `lark` writes the pieces.
- `tool_calls`, `call_grammar`: the literals of a tool format, and the grammar of calls, text and reasoning.
- `notation/`: the grammar of a tool's arguments. `arguments` chooses JSON, `element` or `bare`; `rules` is what the
  last two share, `shapes` splits a schema by the types of its values.
- `schema/`: JSON Schemas. `reader` builds the `tree` (with `references`, `numbers`, `patterns`, `string_formats`);
  `checks` rejects what cannot be enforced; `writer` writes the tree for llguidance (`disjoint` and `negation` turn
  `oneOf` into `anyOf`); `value_types` finds the types of values.
- `values`: which JSON values a grammar can express, and when two are equal.
"""
