"""How families of models mark their reasoning; it knows nothing of tool calls."""

from onward_server.completion.answer.tool_formats.tool_format import ReasoningFormat

# Gemma 4: a channel named thought.
GEMMA = ReasoningFormat(
    name="gemma",
    template_marks=("<|channel>thought",),
    begin="<|channel>thought",
    end="<channel|>",
    anywhere=True,
    dropped=("<channel|>",),
    control_strings=("<|channel>", "<channel|>"),
)
# Magistral and Ministral.
MISTRAL = ReasoningFormat(
    name="mistral",
    template_marks=("[THINK]", "[/THINK]"),
    begin="[THINK]",
    end="[/THINK]",
    anywhere=True,
    control_strings=("[THINK]", "[/THINK]"),
)
# Granite 3.3 wraps the answer that follows, too.
GRANITE = ReasoningFormat(
    name="granite",
    template_marks=("<think>", "<response>"),
    begin="<think>",
    end="</think>",
    dropped=("<response>", "</response>"),
    control_strings=("<think>", "</think>", "<response>", "</response>"),
)
# Qwen 3, DeepSeek, SmolLM 3 and most others.
THINK = ReasoningFormat(
    name="think",
    template_marks=("<think>",),
    begin="<think>",
    end="</think>",
    control_strings=("<think>", "</think>"),
)
# gpt-oss: its channels are read by the tool format of the same name.
HARMONY = ReasoningFormat(
    name="harmony",
    template_marks=("<|channel|>analysis",),
    begin="<|channel|>analysis<|message|>",
    end="<|channel|>final<|message|>",
    control_strings=("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"),
)
