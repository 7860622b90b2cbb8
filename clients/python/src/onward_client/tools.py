"""Builds the tools that a request offers, and its tool choice, from plain Python values."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict, cast

from onward.v1.chat_pb2 import FunctionTool, Tool, ToolChoice
from onward_client.dicts import is_dict, json_text, set_fields, without_type
from onward_client.errors import RequestError, shown
from onward_client.fields import build, items, text
from onward_client.schemas import TypeLike, json_schema, tool_name_of


class FunctionDict(TypedDict):
    """A `FunctionTool` as a dict; `parameters` is a JSON schema, as a dict or as text."""

    name: str
    description: NotRequired[str | None]
    parameters: NotRequired[Mapping[str, object] | str | None]
    strict: NotRequired[bool | None]


class ToolDict(TypedDict):
    """A `Tool` as a dict."""

    type: NotRequired[Literal["function"]]
    function: FunctionDict


ToolLike: TypeAlias = "Tool | FunctionTool | ToolDict | TypeLike | Callable[..., object]"
"""A tool. A type or an annotated function (both need pydantic) is a strict tool: its arguments always match."""


class FunctionNameDict(TypedDict):
    """The name of a function, as OpenAI's tool choice has it."""

    name: str


class NamedToolDict(TypedDict):
    """OpenAI's form of a tool choice that requires one function."""

    type: Literal["function"]
    function: FunctionNameDict


class ToolChoiceDict(TypedDict, total=False):
    """A `ToolChoice` as a dict."""

    mode: Literal["auto", "none", "required"]
    function_names: Sequence[str]


ToolChoiceLike: TypeAlias = (
    ToolChoice
    | Literal["auto", "none", "required", "any"]
    | list[str]
    | tuple[str, ...]
    | NamedToolDict
    | ToolChoiceDict
)
"""Whether the model may, must or must not call tools. `any` means `required`. A list means that it must call one of
these names, and OpenAI's `{"type": "function", "function": {"name": ...}}` that it must call this one."""

_MODES = {
    "auto": ToolChoice.MODE_AUTO,
    "none": ToolChoice.MODE_NONE,
    "required": ToolChoice.MODE_REQUIRED,
    "any": ToolChoice.MODE_REQUIRED,
}


def to_tools(tools: object) -> list[Tool]:
    """Returns tools as protobuf.

    Raises:
        RequestError: A field is unknown or has the wrong type, or a type or function has no JSON schema.
    """
    if is_dict(tools) or callable(tools) or isinstance(tools, Tool | FunctionTool):
        raise RequestError(f"tools: must be a list of tools, not one tool; write tools=[{shown(tools)}]")
    return [_to_tool(tool, f"tools[{at}]") for at, tool in enumerate(items("tools", tools))]


def to_tool_choice(choice: object) -> ToolChoice:
    """Returns a tool choice as protobuf.

    Raises:
        RequestError: The choice is not a mode or a list of names.
    """
    if isinstance(choice, ToolChoice):
        return choice
    if is_dict(choice):
        return _choice_from_dict(choice)
    if isinstance(choice, list | tuple):
        names = list(cast("Sequence[object]", choice))
        return build(ToolChoice, "tool_choice", {"mode": ToolChoice.MODE_REQUIRED, "function_names": names})
    if not isinstance(choice, str) or choice not in _MODES:
        modes = "'auto', 'none', 'required'"
        raise RequestError(f"tool_choice: must be one of {modes} or a list of names, not {shown(choice)}")
    return ToolChoice(mode=_MODES[choice])


def _choice_from_dict(choice: Mapping[str, object]) -> ToolChoice:
    """Reads the fields of `ToolChoice`, or OpenAI's forms: one function, or a list of allowed tools with a mode."""
    given: dict[str, Any] = set_fields(choice)
    match given:
        case {"type": "function"}:
            names = [_function_name(given, "tool_choice")]
            return build(ToolChoice, "tool_choice", {"mode": ToolChoice.MODE_REQUIRED, "function_names": names})
        case {"type": "allowed_tools", "allowed_tools": {"mode": str(mode), "tools": list()}}:
            path = "tool_choice.allowed_tools.tools"
            allowed = items(path, given["allowed_tools"]["tools"])
            names = [_function_name(tool, f"{path}[{at}]") for at, tool in enumerate(allowed)]
            return build(ToolChoice, "tool_choice", {"mode": mode, "function_names": names})
        case {"type": str(mode)} if mode in _MODES and len(given) == 1:
            return ToolChoice(mode=_MODES[mode])
        case {"type": _}:
            raise RequestError(
                f"tool_choice: is {shown(choice)}; to require a function, pass its name in a list, such as ['forecast']"
            )
        case _:
            return build(ToolChoice, "tool_choice", given)


def _function_name(tool: object, path: str) -> str:
    function = tool.get("function") if is_dict(tool) and tool.get("type") == "function" else None
    if is_dict(function) and "name" in function:
        return text(f"{path}.function.name", function["name"])
    raise RequestError(f"{path}: must be {{'type': 'function', 'function': {{'name': ...}}}}, not {shown(tool)}")


def _to_tool(tool: object, path: str) -> Tool:
    if isinstance(tool, Tool):
        return tool
    if isinstance(tool, FunctionTool):
        return Tool(function=tool)
    if is_dict(tool):
        return _from_dict(tool, path)
    if not callable(tool):
        raise RequestError(f"{path}: must be a tool, a dict, a type or a function, not {shown(tool)}")
    parameters = json_text(json_schema(tool), f"{path}.function.parameters")
    description = inspect.cleandoc(getattr(tool, "__doc__", None) or "")
    fields = {"name": tool_name_of(tool), "description": description, "parameters": parameters, "strict": True}
    return Tool(function=build(FunctionTool, f"{path}.function", fields))


def _from_dict(tool: Mapping[str, object], path: str) -> Tool:
    fields = without_type(tool, "function", path)
    if "function" not in fields and "name" in fields:
        raise RequestError(
            f"{path}: put the fields of the function inside `function`: "
            "{'type': 'function', 'function': {'name': ..., 'parameters': ...}}"
        )
    function = fields.get("function")
    if is_dict(function):
        arguments = set_fields(function)
        if "parameters" in arguments and not isinstance(arguments["parameters"], bytes):
            arguments["parameters"] = json_text(arguments["parameters"], f"{path}.function.parameters")
        fields["function"] = arguments
    return build(Tool, path, fields)
