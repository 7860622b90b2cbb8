"""Compiles the constraints on model output and matches them token by token.

Map:
    compiler            response formats and offered tools → `Grammar`; owns the threads that compile
    matcher             `Grammar` → a `GrammarMatcher` for each sequence → masks; owns the thread that fills them
    trial               rejects a grammar that matches nothing or costs too much, before the first token
    response_formats    the grammar of each response format · user_grammar: of a caller's own grammar
    call_grammar        the grammar around tool calls and thinking; tool_calls holds its plain data
    schema/             a JSON Schema, read once into `tree`: reader, references, patterns, string_formats, negation;
                        checks and numbers reject it, disjoint turns oneOf into anyOf, writer writes it for llguidance
    notation/           tool arguments: arguments (JSON), bare and element notation, by shapes of the same tree
    lark, values, compile_errors    pieces of grammars, of JSON values, and of error texts
"""
