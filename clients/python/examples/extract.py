"""A sentence becomes an object of a pydantic type; the answer cannot be anything else."""

import sys

from pydantic import BaseModel

from onward_client import Client


class Person(BaseModel):
    """Who a sentence is about."""

    name: str
    age: int
    city: str


def main(target: str) -> Person:
    """Asks for the JSON of a person, and returns the person."""
    with Client(target) as client:
        question = "Extract name, age and city as JSON: Anna is 30 years old and lives in Rome."
        person = client.parse(Person, question, temperature=0, max_tokens=100).parsed
    print(f"{person.name}, {person.age}, of {person.city}")
    return person


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["127.0.0.1:50051"]))
