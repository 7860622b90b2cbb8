"""Turns a sentence into an object of a pydantic type, whose schema constrains the output."""

import sys

from pydantic import BaseModel

from onward_client import Client


class Person(BaseModel):
    """A person that a sentence describes."""

    name: str
    age: int
    city: str


def main(target: str) -> Person:
    """Extracts a person from a sentence, and returns it."""
    with Client(target) as client:
        question = "Extract name, age and city as JSON: Anna is 30 years old and lives in Rome."
        person = client.parse(Person, question, temperature=0, max_tokens=100).parsed
    print(f"{person.name}, {person.age}, of {person.city}")
    return person


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["127.0.0.1:50051"]))
