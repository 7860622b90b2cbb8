"""Functions that people try first, with common requests for them. Only training uses them."""

from collections.abc import Callable
from dataclasses import dataclass

from pocket.draw import USUAL_NAMES, Draw
from pocket.skills.phrasing import asked
from pocket.skills.tool_parameters import PARAMETERS, Parameter
from pocket.words import DAYS

KINDS = {"string": PARAMETERS[0], "place": PARAMETERS[1], "integer": PARAMETERS[2], "day": PARAMETERS[3]}
VALUES: dict[str, Callable[[Draw], object]] = {
    "string": lambda draw: draw.name(),
    "place": lambda draw: draw.of(USUAL_NAMES) if draw.chance(0.5) else draw.name(),
    "day": lambda draw: draw.any(DAYS),
}


@dataclass(frozen=True, slots=True)
class KnownTool:
    """A function with phrases that request it. Slots have the names of its parameters."""

    name: str
    description: str
    parameters: tuple[tuple[str, str], ...]
    asked: tuple[str, ...]
    outcome: str
    """The key of the result that answers the user; `status` for an action."""
    answer: str
    """The answer to the user; empty for an action."""

    @property
    def typed_parameters(self) -> list[Parameter]:
        return [Parameter(name, KINDS[kind]) for name, kind in self.parameters]

    def ask(self, draw: Draw) -> tuple[str, dict[str, object]]:
        """A request for the function, and the arguments in it."""
        integers = iter(draw.numbers(sum(kind == "integer" for _, kind in self.parameters), 0, 100))
        arguments = {
            name: next(integers) if kind == "integer" else VALUES[kind](draw) for name, kind in self.parameters
        }
        return asked(draw, draw.any(self.asked).format(**arguments)), arguments


TOOLS = (
    KnownTool("get_weather", "Get the weather in a city.", (("city", "place"),), ("What is the weather in {city}?", "How is the weather in {city}?", "What's the weather like in {city}?", "Is it raining in {city}?", "Weather in {city}?"), "weather", "The weather in {city} is {value}."),
    KnownTool("get_current_weather", "Get the current weather.", (("location", "place"),), ("What is the weather in {location}?", "What's the weather like in {location} today?", "How warm is it in {location}?"), "weather", "The weather in {location} is {value}."),
    KnownTool("get_time", "Get the time in a city.", (("city", "place"),), ("What time is it in {city}?", "What is the time in {city}?", "Tell me the time in {city}."), "time", "It is {value} in {city}."),
    KnownTool("get_temperature", "Get the temperature in a city.", (("city", "place"),), ("How warm is it in {city}?", "What is the temperature in {city}?", "How cold is it in {city}?"), "temperature", "The temperature in {city} is {value}."),
    KnownTool("add", "Add two numbers.", (("a", "integer"), ("b", "integer")), ("What is {a} plus {b}?", "Add {a} and {b}.", "What is {a} + {b}?"), "sum", "{a} + {b} = {value}."),
    KnownTool("multiply", "Multiply two numbers.", (("a", "integer"), ("b", "integer")), ("What is {a} times {b}?", "Multiply {a} and {b}.", "What is {a} * {b}?"), "product", "{a} * {b} = {value}."),
    KnownTool("set_timer", "Set a timer.", (("minutes", "integer"),), ("Set a timer for {minutes} minutes.", "Wake me in {minutes} minutes.", "Start a timer of {minutes} minutes."), "status", ""),
    KnownTool("search", "Search the web.", (("query", "string"),), ("Search for {query}.", "Look up {query}.", "Find something about {query}.", "Search the web for {query}."), "result", "I found this: {value}."),
    KnownTool("send_email", "Send an email.", (("to", "string"), ("subject", "string")), ("Send an email to {to} about {subject}.", "Email {to} about {subject}.", "Write an email to {to} with the subject {subject}."), "status", ""),
    KnownTool("play_song", "Play a song.", (("title", "string"),), ("Play {title}.", "Play the song {title}.", "I want to hear {title}."), "status", ""),
    KnownTool("get_stock_price", "Get the price of a stock.", (("symbol", "string"),), ("What is the stock price of {symbol}?", "How much is {symbol} stock?", "What is the price of {symbol}?"), "price", "The price of {symbol} is {value}."),
    KnownTool("turn_on_light", "Turn on the light in a room.", (("room", "string"),), ("Turn on the light in {room}.", "Light on in {room}, please."), "status", ""),
    KnownTool("book_flight", "Book a flight.", (("to", "place"), ("day", "day")), ("Book a flight to {to} on {day}.", "I want to fly to {to} on {day}."), "status", ""),
    KnownTool("translate", "Translate a word.", (("text", "string"), ("language", "string")), ("Translate {text} to {language}.", "How do you say {text} in {language}?"), "translation", "{text} means {value}."),
)  # fmt: skip


def draw_tool(draw: Draw) -> KnownTool:
    """Any of the functions."""
    return draw.any(TOOLS)
