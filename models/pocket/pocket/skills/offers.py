"""Functions that a conversation offers, and how users request them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pocket.conversation import Function, Tool
from pocket.draw import Draw, pool, words
from pocket.skills.known_tools import KnownTool, draw_tool
from pocket.skills.phrasing import asked, capital, with_article
from pocket.skills.tool_parameters import PARAMETERS, Parameter

VERBS = words(
    "verb",
    "book send open close find order paint clean repair move sell buy rent lock count start stop print copy "
    "hide show wash fill weigh lift pack return cancel save share build draw measure sort wrap test update deliver "
    "create delete remove make write play pause mute record schedule reserve call invite notify "
    "remind assign archive upload download import export convert compare convey resize rename restore "
    "enable disable lower raise heat cool charge connect attach edit approve reject review publish post track "
    "scan sign block mark merge split pay refund submit register activate dim water feed walk park tow load "
    "unlock launch resume reset replace label rate log plan mow bake cook boil serve mix",
)
TOOL_NOUNS = words(
    "tool noun",
    "table ticket letter message door window meeting report file photo song film game car train taxi parcel meal "
    "pizza garden lamp heater alarm camera robot printer invoice order payment account bill event lesson course team "
    "house bike boat flight hotel seat desk shelf plant tree dog cat horse engine tank bottle box bag coat shoe machine "
    "user email note task list reminder calendar appointment contact customer product item cart folder page document "
    "picture image video playlist track album book story map route trip tour ride truck van ship package shipment "
    "fan oven fridge kettle blind curtain gate fence lock key card phone screen speaker radio channel project "
    "issue branch server backup database record form survey poll vote review comment post article recipe menu dish "
    "drink cup plate chair sofa bed roof wall pool lawn field farm shop store office class exam grade loan",
)
ATTRIBUTES = words(
    "attribute",
    "price weight height colour age speed size status owner level score rank length value power address birthday "
    "temperature distance width balance depth voltage pressure mood phone language author capital version brand "
    "name email weather time date humidity population area currency rate rating salary budget cost stock quantity "
    "duration deadline schedule position altitude mileage capacity volume density energy battery signal "
    "memory usage traffic revenue profit tax discount fee rent debt limit grade genre artist director publisher "
    "model serial material texture shape flavour smell origin nationality gender job team manager leader",
)
REQUESTS = pool(
    "tool request",
    "{Do}[.|!| now.|, please.| now, please.]",
    "[Please|Now|Now please|Please now] {do}[.|!|]",
    "[Can|Could|Would|Will] you [please |now |]{do}[?| now?|, please?]",
    "I [want|need|would like|have] to {do}[.| now.|, please.]",
    "[I want|I need|I would like|I'd like] you to {do}[.| now.|, please.]",
    "[Help me|You have|It is time|I'd like] to {do}[.| now.|, please.]",
    "[Let's|You should|We should|I should] {do}[.| now.|]",
)
LOOKUPS = pool(
    "lookup",
    "[What is|What's] [the {attribute} of {item}|{item}'s {attribute}]?",
    "[Tell me|Give me|Find|Get|Look up|Show me|Check] [the {attribute} of {item}|{item}'s {attribute}][.|, please.| now.]",
    "[Do you know|Can you tell me|Can you find|Can you get|Could you find|Could you tell me] the {attribute} of {item}?",
    "[Do you know|Can you tell me|Can you look up|Can you show me|Could you get] {item}'s {attribute}?",
    "[Which|What] {attribute} does {item} have[?| now?]",
    "I [need|want|want to know|would like to know|have to know] [the {attribute} of {item}|{item}'s {attribute}].",
    "[Please tell me|Please find|Please get|Please look up|Now tell me|Now find] [the {attribute} of {item}|{item}'s {attribute}].",
)
STATUS = "status"
DONE = "Done. The {key} is {value}."
GETTERS = ("get", "get", "get", "find", "check", "read", "fetch", "query", "lookup")
LARGEST_CROSSED_OFFER = 5
INVENTED_GETTER_SHARE = 0.4
"""In training, where the other names are equally frequent, so that a function's name cannot be guessed."""
PLAIN_NAME_SHARE = 0.8
TRAINED_PLAIN_NAME_SHARE = 0.6
"""Fewer, because a plain name can be derived from the request; any other must be looked up among the offered ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for a function, with the resulting call and answer."""

    user: str
    call: Function
    answer: str
    """The answer to the user, with slots for the key and value of the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A function with new requests for it on demand."""

    name: str
    description: str
    parameters: Sequence[Parameter]
    outcome: str
    """The key of the result that answers the user; `STATUS` for an action."""
    noun: str
    """What the function is about."""
    ask: Callable[[Draw], Request]

    def definition(self, *, is_described: bool, explains: bool) -> Tool:
        """The function in the form that chat templates take."""
        properties = {parameter.name: parameter.schema(explains=explains) for parameter in self.parameters}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description if is_described else "",
                "parameters": {"type": "object", "properties": properties, "required": list(properties)},
            },
        }

    @property
    def is_named_plainly(self) -> bool:
        """Whether the name alone describes the function."""
        return self.name.endswith(f"_{self.noun}")


def action(draw: Draw, verb: str | None = None, noun: str | None = None) -> Offer:
    """A verb and a noun, with up to three arguments."""
    verb = verb or _verb(draw)
    noun = noun or _noun(draw)
    parameters = _parameters(draw, draw.any((0, 1, 1, 2, 2, 3)))
    plain, camel, opaque = f"{verb}_{noun}", verb + noun.capitalize(), draw.coined()
    is_plain = draw.chance(PLAIN_NAME_SHARE if draw.held_out else TRAINED_PLAIN_NAME_SHARE)
    name = plain if is_plain else draw.any((camel, opaque))

    def ask(draw: Draw) -> Request:
        values = [(parameter, *parameter.value(draw)) for parameter in parameters]
        spoken = draw.shuffled(values) if draw.chance(0.15) else values
        is_shuffled = spoken != values
        phrases = [parameter.phrase(draw, text, is_named=is_shuffled) for parameter, _, text in spoken]
        do = " ".join([f"{verb} {_noun_phrase(draw, noun)}", *phrases])
        user = asked(draw, draw.of(REQUESTS).format(do=do, Do=capital(do)))
        arguments = {parameter.name: value for parameter, value, _ in values}
        return Request(user=user, call={"name": name, "arguments": arguments}, answer=DONE)

    description = f"{capital(verb)} {with_article(noun)}."
    return Offer(name=name, description=description, parameters=parameters, outcome=STATUS, noun=noun, ask=ask)


def _verb(draw: Draw) -> str:
    return draw.of(VERBS) if draw.chance(0.7) else draw.coined()


def _noun(draw: Draw) -> str:
    return draw.of(TOOL_NOUNS) if draw.chance(0.7) else draw.coined()


def crossed(draw: Draw) -> tuple[list[Offer], list[Offer]]:
    """Actions from few verbs and nouns: some to offer and some that are missing, each similar to some of the others."""
    verbs, nouns = _different(draw, _verb), _different(draw, _noun)
    actions = draw.shuffled([action(draw, verb, noun) for verb in verbs for noun in nouns])
    num_offered = draw.count(1, min(LARGEST_CROSSED_OFFER, len(actions) - 1))
    return actions[:num_offered], actions[num_offered:]


def _different(draw: Draw, draw_word: Callable[[Draw], str]) -> list[str]:
    """Two or three words."""
    count = draw.count(2, 3)
    found: dict[str, None] = {}
    while len(found) < count:
        found[draw_word(draw)] = None
    return list(found)


def _parameters(draw: Draw, count: int) -> list[Parameter]:
    """Parameters with different kinds and names."""
    kinds = draw.random.sample(PARAMETERS, count)
    while True:
        parameters = [kind.parameter(draw) for kind in kinds]
        if len({parameter.name for parameter in parameters}) == count:
            return parameters


def lookup(draw: Draw) -> Offer:
    """A lookup of an attribute of a named thing."""
    attribute = draw.of(ATTRIBUTES) if draw.chance(0.6) else draw.coined()
    parameter = PARAMETERS[0].parameter(draw)
    name = f"{_getter(draw)}_{attribute}"

    def ask(draw: Draw) -> Request:
        item = draw.name()
        return Request(
            user=asked(draw, draw.of(LOOKUPS).format(attribute=attribute, item=item)),
            call={"name": name, "arguments": {parameter.name: item}},
            answer=f"The {attribute} of {item} is {{value}}.",
        )

    description = f"Get the {attribute} of something."
    return Offer(name=name, description=description, parameters=[parameter], outcome=attribute, noun=attribute, ask=ask)


def _getter(draw: Draw) -> str:
    if draw.held_out:
        return draw.any(GETTERS)
    return draw.coined() if draw.chance(INVENTED_GETTER_SHARE) else draw.any(sorted(set(GETTERS)))


def known(tool: KnownTool) -> Offer:
    """One of the functions that people try first."""

    def ask(draw: Draw) -> Request:
        user, arguments = tool.ask(draw)
        answer = DONE if tool.outcome == STATUS else tool.answer.format(value="{value}", **arguments)
        return Request(user=user, call={"name": tool.name, "arguments": arguments}, answer=answer)

    noun = tool.name.rpartition("_")[2]
    parameters = tool.typed_parameters
    return Offer(
        name=tool.name, description=tool.description, parameters=parameters, outcome=tool.outcome, noun=noun, ask=ask
    )


def any_offer(draw: Draw) -> Offer:
    """An action, a lookup, or one of the functions that people try first."""
    kind = draw.count(1, 10)
    if kind <= 5:
        return action(draw)
    return lookup(draw) if kind <= 8 or draw.held_out else known(draw_tool(draw))


def alike(one: Offer, other: Offer | None) -> bool:
    """Whether a request for one could be mistaken for a request for the other."""
    if other is None:
        return False
    are_both_actions = one.outcome == other.outcome == STATUS
    is_same_noun = one.noun == other.noun
    return one.name == other.name or (is_same_noun and not (are_both_actions and one.description != other.description))


def neighbour(draw: Draw, wanted: Offer) -> Offer:
    """A function that shares the verb or the noun, so that the model must read both."""
    if wanted.outcome != STATUS or wanted.noun not in wanted.name:
        return lookup(draw)
    verb = wanted.description.split()[0].lower()
    return action(draw, verb=verb) if draw.chance(0.5) else action(draw, noun=wanted.noun)


def _noun_phrase(draw: Draw, noun: str) -> str:
    return draw.any((with_article(noun), f"the {noun}", f"my {noun}"))
