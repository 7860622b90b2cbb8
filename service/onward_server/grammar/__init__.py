"""Grammars that constrain what a model writes, compiled once per request and matched token by token.

In reading order:

- `compiler`: compiles a response format or tool calls into a `Grammar`; `trial` tests the cost of its steps,
  `compile_errors` translates the errors of llguidance.
- `matcher`: follows one sequence through its grammar and fills the masks of allowed tokens.
- `response_formats`: checks a response format and writes its grammar, with helpers in `lark`.
- `user_grammar`: checks a Lark grammar that the caller wrote.
- `tool_calls`, `call_grammar`: the literals of a tool format, and the grammar of calls, text and reasoning.
- `notation/`: the grammar of a tool's arguments. `arguments` chooses JSON, `element`, `bare` or `keyword`; the last
  three share `rules` and `shapes`, which splits a schema by the types of its values.
- `schema/`: JSON Schemas. `reader` builds the `tree` (with `keywords`, `references`, `numbers`, `patterns`,
  `string_formats`); `checks` rejects what cannot be enforced; `writer` writes the tree for llguidance (`disjoint` and
  `negation` turn `oneOf` into `anyOf`); `value_types` finds the types of values.
- `values`: which JSON values a grammar can express, and when two are equal.
"""
