"""Builds the tools that a request offers, and its tool choice, from plain Python values."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NotRequired, TypeAlias, TypedDict

from onward.v1.chat_pb2 import FunctionTool, Tool, ToolChoice
from onward_client.dicts import build, is_dict, json_text, set_fields, without_type
from onward_client.errors import RequestError
from onward_client.schemas import json_schema, name_of


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


ToolLike: TypeAlias = Tool | FunctionTool | ToolDict | type | Callable[..., object]
"""A tool. A type or an annotated function (both need pydantic) is a strict tool: its arguments always match."""

ToolChoiceLike: TypeAlias = ToolChoice | Literal["auto", "none", "required"] | list[str] | tuple[str, ...]
"""Whether the model may, must or must not call tools; a list means that it must call one of these names."""

_MODES = {
    "auto": ToolChoice.MODE_AUTO,
    "none": ToolChoice.MODE_NONE,
    "required": ToolChoice.MODE_REQUIRED,
}


def to_tools(tools: Sequence[ToolLike]) -> list[Tool]:
    """Returns tools as protobuf.

    Raises:
        RequestError: A field is unknown or has the wrong type, or a type or function has no JSON schema.
    """
    return [_to_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools)]


def to_tool_choice(choice: ToolChoiceLike) -> ToolChoice:
    """Returns a tool choice as protobuf.

    Raises:
        RequestError: The choice is not a mode or a list of names.
    """
    if isinstance(choice, ToolChoice):
        return choice
    if isinstance(choice, list | tuple):
        return build(ToolChoice, "tool_choice", {"mode": ToolChoice.MODE_REQUIRED, "function_names": choice})
    if choice not in _MODES:
        raise RequestError(f"tool_choice: must be one of {', '.join(_MODES)} or a list of names, not {choice!r}")
    return ToolChoice(mode=_MODES[choice])


def _to_tool(tool: ToolLike, path: str) -> Tool:
    if isinstance(tool, Tool):
        return tool
    if isinstance(tool, FunctionTool):
        return Tool(function=tool)
    if is_dict(tool):
        return _from_dict(tool, path)
    if not callable(tool):
        raise RequestError(f"{path}: must be a tool, a dict, a type or a function, not {tool!r}")
    parameters = json_text(json_schema(tool), f"{path}.function.parameters")
    description = inspect.cleandoc(tool.__doc__ or "")
    return Tool(function=FunctionTool(name=name_of(tool), description=description, parameters=parameters, strict=True))


def _from_dict(tool: Mapping[str, object], path: str) -> Tool:
    fields = without_type(tool, "function", path)
    function = fields.get("function")
    if is_dict(function):
        arguments = set_fields(function)
        if "parameters" in arguments:
            arguments["parameters"] = json_text(arguments["parameters"], f"{path}.function.parameters")
        fields["function"] = build(FunctionTool, f"{path}.function", arguments)
    return build(Tool, path, fields)
