from onward_server.completion.answer.call_writer import written_calls
from onward_server.completion.answer.tool_formats.lfm2 import LFM2
from onward_server.json_value import JsonObject


def test_python_calls_are_written_with_the_constants_of_python() -> None:
    arguments: JsonObject = {"city": 'Be"rn', "loud": True, "note": None, "more": [{"a": False}, 1.5, [], {}]}

    written = written_calls(LFM2.frame, [("get_weather", arguments), ("now", {})])

    calls = r'get_weather(city="Be\"rn", loud=True, note=None, more=[{"a": False}, 1.5, [], {}]), now()'
    assert written == f"<|tool_call_start|>[{calls}]<|tool_call_end|>"
