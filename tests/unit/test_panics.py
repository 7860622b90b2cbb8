import pytest

from onward_server.panics import panics_raise


class PanicException(BaseException):
    """Derived from BaseException, as panics in Rust are."""


def fail_with(error: BaseException) -> None:
    with panics_raise(lambda: ValueError("it panicked")):
        raise error


def test_a_panic_is_replaced_with_an_error_that_does_not_quote_it() -> None:
    with pytest.raises(ValueError, match="it panicked") as caught:
        fail_with(PanicException("canary"))
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("kind", [GeneratorExit, KeyboardInterrupt, KeyError, SystemExit])
def test_other_exceptions_are_raised_as_they_are(kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        fail_with(kind())
