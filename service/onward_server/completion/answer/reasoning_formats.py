"""The reasoning formats: the markers between which families of models write their reasoning."""

from onward_server.completion.answer.output_format import ReasoningFormat

# Gemma 4: a channel named `thought`.
GEMMA = ReasoningFormat(
    name="gemma",
    begin="<|channel>thought",
    end="<channel|>",
    anywhere=True,
    dropped=("<channel|>",),
    control_strings=("<|channel>", "<channel|>"),
)
# Magistral and Ministral 3.
MISTRAL = ReasoningFormat(
    name="mistral",
    prompt_markers=("[THINK]", "[/THINK]"),
    begin="[THINK]",
    end="[/THINK]",
    anywhere=True,
    control_strings=("[THINK]", "[/THINK]"),
)
# Granite 3.3, which puts the text of the message between markers, too.
GRANITE = ReasoningFormat(
    name="granite",
    prompt_markers=("<think>", "</think>", "<response>"),
    begin="<think>",
    end="</think>",
    text_frame=("<response>", "</response>"),
    control_strings=("<think>", "</think>", "<response>", "</response>"),
)
# Qwen 3, DeepSeek, SmolLM 3 and most others.
THINK = ReasoningFormat(
    name="think",
    prompt_markers=("<think>", "</think>"),
    begin="<think>",
    end="</think>",
    control_strings=("<think>", "</think>"),
)
# Command R7B and Command A. Their text is between markers, too, whether they think or not.
COHERE = ReasoningFormat(
    name="cohere",
    begin="<|START_THINKING|>",
    end="<|END_THINKING|>",
    dropped=("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"),
    frames_text=True,
    control_strings=(
        "<|START_THINKING|>",
        "<|END_THINKING|>",
        "<|START_RESPONSE|>",
        "<|END_RESPONSE|>",
        "<|START_TEXT|>",
        "<|END_TEXT|>",
    ),
)
# Apertus.
APERTUS = ReasoningFormat(
    name="apertus",
    prompt_markers=("<|developer_start|>", "Deliberation: "),
    begin="<|inner_prefix|>",
    end="<|inner_suffix|>",
    control_strings=("<|inner_prefix|>", "<|inner_suffix|>"),
)
# Apriel 1.5 and 1.6, whose markers are ordinary text.
APRIEL = ReasoningFormat(
    name="apriel",
    prompt_markers=("[BEGIN FINAL RESPONSE]",),
    begin="Here are my reasoning steps:",
    end="[BEGIN FINAL RESPONSE]",
    dropped=("[END FINAL RESPONSE]",),
    control_strings=("[BEGIN FINAL RESPONSE]", "[END FINAL RESPONSE]"),
)
# gpt-oss, whose channels are parsed by the tool format of the same name.
HARMONY = ReasoningFormat(
    name="harmony",
    begin="<|channel|>analysis<|message|>",
    end="<|channel|>final<|message|>",
    control_strings=("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"),
)
# Seed-OSS, whose prompts with a thinking budget of 0 begin the reasoning with a remark on the budget.
SEED_OSS = ReasoningFormat(
    name="seed_oss",
    begin="<seed:think>",
    end="</seed:think>",
    begin_in_prompt="<seed:cot_budget_reflect>",
    control_strings=(
        "<seed:think>",
        "</seed:think>",
        "<seed:cot_budget_reflect>",
        "</seed:cot_budget_reflect>",
    ),
)
# LongCat.
LONGCAT = ReasoningFormat(
    name="longcat",
    begin="<longcat_think>",
    end="</longcat_think>",
    control_strings=("<longcat_think>", "</longcat_think>"),
)
